//! DNS lookups as a program's C library makes them, without its caches: a question for the A record over UDP, from a
//! new socket each, to the first name server of /etc/resolv.conf. (getaddrinfo asks twice, tries a list of suffixes and
//! may ask programs before the server, so it would measure the machine's configuration more than the way.)

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use tp_core::dns::message::{NOERROR, NXDOMAIN, answers, rcode};
use tp_core::dns::{Name, rtype};
use tp_core::lookup::ResolvConf;

use super::sample::Sample;

/// Lookups at a time.
pub(super) const AT_ONCE: usize = 8;
/// As the C library's.
const PATIENCE: Duration = Duration::from_secs(5);
const BREATH: Duration = Duration::from_millis(10);
/// Larger than any answer without EDNS.
const ANSWER: usize = 4096;

#[derive(Debug)]
pub(super) struct Looked {
    pub sample: Sample,
    pub took: Duration,
    pub failed: usize,
    /// Of the first that failed.
    pub error: Option<String>,
}

/// A name as the flag takes it.
pub(super) fn complete(text: &str) -> Result<String, String> {
    Name::parse(text).map(|_| text.to_owned()).ok_or_else(|| "it is no DNS name".to_owned())
}

/// Looks the name up again and again.
pub(super) fn lookups(name: &str, lasts: Duration) -> Result<Looked> {
    let server = SocketAddr::new(server(), 53);
    let name = Name::parse(name).ok_or_else(|| anyhow!("{name:?} is no DNS name"))?;
    let (start, name) = (Instant::now(), &name);
    let results: Vec<(Sample, usize, Option<String>)> = thread::scope(|scope| {
        let worker = |mut id: u16| {
            let (mut sample, mut failed, mut first) = (Sample::default(), 0, None);
            loop {
                id = id.wrapping_add(1);
                let began = Instant::now();
                match lookup(server, name, id) {
                    Ok(()) => sample.push(began.elapsed()),
                    Err(error) => {
                        failed += 1;
                        first.get_or_insert_with(|| error.to_string());
                        thread::sleep(BREATH);
                    }
                }
                if start.elapsed() >= lasts {
                    break;
                }
            }
            (sample, failed, first)
        };
        let ids = (0..u16::MAX).step_by(usize::from(u16::MAX) / AT_ONCE).take(AT_ONCE);
        let threads: Vec<_> = ids.map(|id| scope.spawn(move || worker(id))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let took = start.elapsed();
    let failed = results.iter().map(|(_, failed, _)| failed).sum();
    let error = results.iter().find_map(|(_, _, error)| error.clone());
    let sample = Sample::of(results.into_iter().map(|(sample, _, _)| sample));
    match error {
        Some(error) if sample.count() == 0 => Err(anyhow!(error).context(format!("asking {server}"))),
        error => Ok(Looked { sample, took, failed, error }),
    }
}

/// The first of /etc/resolv.conf; this machine, if there is none.
fn server() -> IpAddr {
    let conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    ResolvConf::parse(&conf).nameservers.first().copied().unwrap_or(Ipv4Addr::LOCALHOST.into())
}

fn lookup(server: SocketAddr, name: &Name, id: u16) -> io::Result<()> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let question = question(name, id);
    socket.send(&question)?;
    let mut answer = [0; ANSWER];
    loop {
        let length = socket.recv(&mut answer).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => {
                io::Error::new(ErrorKind::TimedOut, format!("no answer within {PATIENCE:?}"))
            }
            _ => error,
        })?;
        let answer = &answer[..length];
        if answers(&question, id, answer) {
            return match rcode(answer) {
                Some(NOERROR) => Ok(()),
                Some(NXDOMAIN) => Err(io::Error::other(format!("there is no {}", name.as_str()))),
                code => {
                    Err(io::Error::other(format!("the answer is response code {}", code.unwrap_or_default())))
                }
            };
        }
    }
}

/// A question for the A record, recursion desired.
fn question(name: &Name, id: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.labels() {
        // a `Name` has none that is longer than 63
        message.push(u8::try_from(label.len()).unwrap_or_default());
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(rtype::A.to_be_bytes());
    message.extend(1u16.to_be_bytes());
    message
}

#[cfg(test)]
mod tests {
    use tp_core::dns::message::{Message, read};

    use super::*;

    #[test]
    fn the_question_is_read_as_it_is_meant() {
        let name = Name::parse("echo.default.svc.cluster.local").unwrap();
        let Message::Query(read) = read(&question(&name, 7)) else { panic!("no query") };
        assert_eq!((read.name, read.rtype, read.recursion_desired), (Some(name), rtype::A, true));
    }
}
