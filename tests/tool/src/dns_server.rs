//! A name server with fixed records, over UDP and TCP, that logs every question: the tests ask it who was asked.
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::Value;

use crate::dns_message::{answer, parse};

#[derive(Debug)]
struct Zone {
    records: Vec<(String, Vec<IpAddr>)>,
    log: Mutex<File>,
}

/// Runs until it is killed.
pub(crate) fn serve(listen: &str, log: &str, records: &[&str]) -> io::Result<Value> {
    let records = records
        .iter()
        .filter_map(|record| record.split_once('='))
        .map(|(name, ips)| (name.to_lowercase(), ips.split(',').filter_map(|ip| ip.parse().ok()).collect()))
        .collect();
    let zone = Arc::new(Zone { records, log: Mutex::new(File::create(log)?) });
    let tcp = TcpListener::bind(listen)?;
    let udp = UdpSocket::bind(listen)?;
    println!("{}", serde_json::json!({"serving": listen}));
    let over_tcp = zone.clone();
    thread::spawn(move || {
        for stream in tcp.incoming().flatten() {
            let zone = over_tcp.clone();
            thread::spawn(move || zone.stream(stream));
        }
    });
    let mut buffer = [0; 4096];
    loop {
        let (n, peer) = udp.recv_from(&mut buffer)?;
        if let Some(reply) = zone.reply(&buffer[..n], "udp") {
            let _ = udp.send_to(&reply, peer);
        }
    }
}

impl Zone {
    fn stream(&self, mut stream: std::net::TcpStream) -> io::Result<()> {
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut message)?;
            let Some(reply) = self.reply(&message, "tcp") else { return Ok(()) };
            stream.write_all(&u16::try_from(reply.len()).unwrap_or(0).to_be_bytes())?;
            stream.write_all(&reply)?;
        }
    }

    fn reply(&self, message: &[u8], over: &str) -> Option<Vec<u8>> {
        let question = parse(message)?;
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(log, "{over} {} {}", question.kind, question.name);
        Some(answer(&question, self.find(&question.name)))
    }

    fn find(&self, name: &str) -> Option<&[IpAddr]> {
        let matches = |(record, _): &&(String, Vec<IpAddr>)| match record.strip_prefix("*.") {
            Some(suffix) => name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.')),
            None => record == name,
        };
        self.records.iter().find(matches).map(|(_, addresses)| addresses.as_slice())
    }
}
