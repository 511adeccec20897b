//! Before the machine's names depend on the server: does a query by the real path reach it?

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use tp_core::dns::message::{NOERROR, answers, rcode};
use tp_core::dns::{Name, rtype};

use super::zone::Zone;

const TRIES: u32 = 10;
const PATIENCE: Duration = Duration::from_millis(300);

/// Asks each server for a name that only it can answer, from where every app of the machine asks.
pub(super) async fn reaches(servers: &[SocketAddr], zone: &Zone) -> anyhow::Result<()> {
    let Some(name) = zone.self_check() else {
        bail!("the cluster has no usable domain, so no name can be told to be its own");
    };
    for server in servers {
        ask(*server, &name).await.with_context(|| format!("asking the DNS server at {server} for {name}"))?;
    }
    Ok(())
}

/// A name that nobody has and nobody asks for by chance.
pub(super) fn unique_name() -> anyhow::Result<Name> {
    let random: [u8; 8] = ring::rand::generate(&ring::rand::SystemRandom::new())
        .map_err(|_| anyhow!("no random number for the name of a check"))?
        .expose();
    Name::parse(&format!("tp-loop-check.{:016x}", u64::from_be_bytes(random)))
        .context("making up a name for a check")
}

async fn ask(server: SocketAddr, name: &Name) -> anyhow::Result<()> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let id = socket.local_addr()?.port();
    let query = query(name, id);
    let mut last = anyhow!("no answer within {} s", (PATIENCE * TRIES).as_secs());
    for _ in 0..TRIES {
        let mut response = [0; 512];
        let asked = async {
            socket.send(&query).await?;
            socket.recv(&mut response).await
        };
        match timeout(PATIENCE, asked).await {
            Ok(Ok(len)) if answers(&query, id, &response[..len]) => match rcode(&response[..len]) {
                Some(NOERROR) => return Ok(()),
                other => bail!("it answered with code {other:?}"),
            },
            Ok(Ok(_)) => last = anyhow!("something else answers there"),
            Ok(Err(error)) => {
                last = error.into();
                tokio::time::sleep(PATIENCE).await;
            }
            Err(_) => {}
        }
    }
    Err(last)
}

fn query(name: &Name, id: u16) -> Vec<u8> {
    let mut query = id.to_be_bytes().to_vec();
    query.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.labels() {
        // a label has at most 63 bytes
        query.push(u8::try_from(label.len()).unwrap_or(0));
        query.extend(label.as_bytes());
    }
    query.push(0);
    query.extend(rtype::A.to_be_bytes());
    query.extend([0, 1]);
    query
}
