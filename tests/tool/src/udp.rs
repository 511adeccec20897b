//! Datagrams there and back, many flows at once, and what a closed port answers.
use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use serde_json::{Value, json};

use crate::{client, errno, pattern};

/// `count` datagrams of `bytes` one after another; each gets three tries, as UDP may lose one.
pub(crate) fn exchange(to: &str, bytes: u64, count: u64) -> io::Result<Value> {
    let socket = connected(to)?;
    let (mut good, mut repeated) = (0, 0);
    for seed in 0..count {
        let mut attempts = 0;
        while !there_and_back(&socket, bytes, seed)? {
            attempts += 1;
            if attempts == 3 {
                return Ok(json!({"good": good, "repeated": repeated, "error": "TIMEOUT"}));
            }
        }
        good += 1;
        repeated += u64::from(attempts > 0);
    }
    Ok(json!({"good": good, "repeated": repeated, "app": socket.local_addr()?.to_string()}))
}

/// `n` sockets, all sent on before the first answer is read.
pub(crate) fn flows(to: &str, n: u64) -> io::Result<Value> {
    crate::server::raise_file_limit();
    let sockets: Vec<UdpSocket> = (0..n).map(|_| connected(to)).collect::<io::Result<_>>()?;
    for (socket, seed) in sockets.iter().zip(0..) {
        socket.send(&datagram(64, seed)?)?;
    }
    let mut good = 0;
    for (socket, seed) in sockets.iter().zip(0..) {
        let mut answer = vec![0; 2048];
        let arrived = socket.recv(&mut answer).map(|n| answer[..n] == datagram(64, seed).unwrap_or_default());
        if !arrived.unwrap_or(false) && !there_and_back(socket, 64, seed)? {
            return Ok(json!({"good": good, "error": "TIMEOUT"}));
        }
        good += 1;
    }
    Ok(json!({"good": good}))
}

/// A datagram there and back on each of `flows` sockets; when told to go on, `count` on each as fast as they go, whose
/// answers nobody reads; when told again, whether each flow still carries one there and back.
pub(crate) fn flood(to: &str, flows: u64, count: u64) -> io::Result<Value> {
    crate::server::raise_file_limit();
    let sockets: Vec<UdpSocket> = (0..flows).map(|_| connected(to)).collect::<io::Result<_>>()?;
    for socket in &sockets {
        if !there_and_back(socket, 64, 0)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
    }
    crate::pause(&json!({"flows": flows}))?;
    let mut sent = 0_u64;
    for seed in 1..=count {
        let datagram = datagram(1200, seed)?;
        // a full queue of the kernel is what a flood is for
        sent += sockets.iter().map(|socket| u64::from(socket.send(&datagram).is_ok())).sum::<u64>();
    }
    crate::pause(&json!({"sent": sent}))?;
    let mut good = 0_u64;
    for (socket, seed) in sockets.iter().zip(count + 1..) {
        let want = datagram(64, seed)?;
        socket.send(&want)?;
        let mut answer = [0; 2048];
        // late answers to the flood come first
        while let Ok(n) = socket.recv(&mut answer) {
            if answer[..n] == want[..] {
                good += 1;
                break;
            }
        }
    }
    Ok(json!({"sent": sent, "good": good}))
}

/// `ECONNREFUSED` if the port unreachable message came back.
pub(crate) fn closed(to: &str) -> io::Result<Value> {
    let socket = connected(to)?;
    socket.send(b"anybody there?")?;
    let outcome = match socket.recv(&mut [0; 64]) {
        Ok(_) => "answered".into(),
        Err(error) => errno::name(&error),
    };
    Ok(json!({"outcome": outcome}))
}

fn connected(to: &str) -> io::Result<UdpSocket> {
    let address = client::first(to)?;
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(3)))?;
    Ok(socket)
}

fn there_and_back(socket: &UdpSocket, bytes: u64, seed: u64) -> io::Result<bool> {
    let sent = datagram(bytes, seed)?;
    socket.send(&sent)?;
    let mut answer = vec![0; 65536];
    match socket.recv(&mut answer) {
        Ok(n) => Ok(answer[..n] == sent),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

fn datagram(bytes: u64, seed: u64) -> io::Result<Vec<u8>> {
    let mut made = Vec::new();
    pattern::write(&mut made, bytes, seed)?;
    Ok(made)
}
