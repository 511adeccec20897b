//! The sink that the manager opens for `tp bench`.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use tokio::net::TcpStream;
use tonic::{Code, Status};
use tp_core::addr::ip_from_bytes;
use tp_core::flow::Proto;
use tp_core::tunnel::Frame;
use tp_proto::bench::{OpenSinkReply, OpenSinkRequest};
use tp_proto::client::{self, Auth};

use super::site::{PATIENCE, Site, channel};

async fn ask(site: &Site, session_id: &str) -> Result<OpenSinkReply, Status> {
    let mut client = client::bench(channel(site.running.address, Auth::default()).await);
    let request = OpenSinkRequest { session_id: session_id.to_owned() };
    client.open_sink(request).await.map(tonic::Response::into_inner)
}

fn address(reply: &OpenSinkReply) -> SocketAddr {
    let ip: IpAddr = ip_from_bytes(&reply.addresses[0]).unwrap();
    SocketAddr::new(ip, reply.port.try_into().unwrap())
}

/// What comes back of these bytes, sent through the tunnel.
async fn echoed(site: &Site, proto: Proto, to: SocketAddr, bytes: &'static [u8]) -> Bytes {
    let mut stream = site.open(proto, to).await.unwrap();
    stream.tx.send(Frame::Normal(Bytes::from_static(bytes))).await.unwrap();
    let frame = tokio::time::timeout(PATIENCE, stream.rx.recv()).await.expect("a frame in time");
    match frame.unwrap().expect("a frame") {
        Frame::Normal(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_sink_is_opened_for_a_session_and_closes_with_it() {
    let mut site = Site::new().await;
    let session = site.session.session_id.clone();
    let reply = ask(&site, &session).await.unwrap();
    assert_eq!(reply.name, "traffic-manager.cluster.local");
    assert_eq!(ask(&site, &session).await.unwrap(), reply, "a second time it is another");
    let to = address(&reply);
    assert_eq!(echoed(&site, Proto::Tcp, to, b"t\x01").await, [1][..]);
    assert_eq!(echoed(&site, Proto::Udp, to, b"datagram").await, b"datagram"[..]);
    assert!(TcpStream::connect(to).await.is_ok());
    site.client.depart(site.session.clone()).await.unwrap();
    let closed = async {
        while TcpStream::connect(to).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.expect("the sink closes with its session");
}

#[tokio::test]
async fn strangers_get_no_sink_and_nobody_gets_one_where_none_is_wanted() {
    let site = Site::new().await;
    assert_eq!(ask(&site, "not-a-session").await.unwrap_err().code(), Code::NotFound);
    let site = Site::with("--no-bench-sink").await;
    let session = site.session.session_id.clone();
    assert_eq!(ask(&site, &session).await.unwrap_err().code(), Code::FailedPrecondition);
}
