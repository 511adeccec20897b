//! The servers in the cluster: echo, who, script and HTTP, on IPv4 and IPv6.
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

use crate::crowd;
use crate::script::{self, Reports};

const STACK: usize = 128 * 1024;

/// Runs until it is killed. UDP is served on `addresses`, so that an answer leaves from the address that was asked; without
/// any, on the wildcard, which is as good where there is only one.
pub(crate) fn serve(name: &str, addresses: &[&str]) -> io::Result<Value> {
    raise_file_limit();
    let name: Arc<str> = name.into();
    let reports = Arc::new(Reports::default());
    tcp(7777, |stream| {
        let _ = io::copy(&mut stream.try_clone()?, &mut &stream)?;
        stream.shutdown(Shutdown::Write)
    })?;
    let who = name.clone();
    tcp(7778, move |stream| tell_who(stream, &who))?;
    tcp(script::PORT, move |stream| script::serve(&stream, &reports))?;
    let crowd = std::net::TcpListener::from(listening((Ipv6Addr::UNSPECIFIED, crowd::PORT).into())?);
    spawn(move || drop(crowd::serve(crowd)))?;
    for port in [80, 8080] {
        let name = name.clone();
        // a pod that may not bind 80 still serves 8080
        let served = tcp(port, move |stream| http(&stream, &name));
        if port != 80 {
            served?;
        }
    }
    for address in if addresses.is_empty() { &["::"] } else { addresses } {
        let address: IpAddr = address.parse().map_err(io::Error::other)?;
        let who = name.clone();
        udp(address, 7777, |datagram, _| datagram.to_vec())?;
        udp(address, 7778, move |_, peer| format!("peer={} name={who}", plain(peer)).into_bytes())?;
    }
    println!("{}", json!({"serving": *name}));
    loop {
        thread::park();
    }
}

/// Who is talking to whom for a line on TCP, echo on UDP, on one address only. Runs until it is killed.
pub(crate) fn serve_at(name: &str, address: &str) -> io::Result<Value> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let who = name.to_owned();
    // Asked, and not before: it may be behind a Telepresence agent, which cannot say that only one direction has ended, and
    // then what the app says is answered by a reset.
    tcp_at(address, move |stream| {
        BufReader::new(&stream).read_line(&mut String::new())?;
        tell_who(stream, &who)
    })?;
    udp(address.ip(), address.port(), |datagram, _| datagram.to_vec())?;
    println!("{}", json!({"serving": name}));
    loop {
        thread::park();
    }
}

fn tell_who(mut stream: TcpStream, name: &str) -> io::Result<()> {
    let (peer, here) = (plain(stream.peer_addr()?), plain(stream.local_addr()?));
    writeln!(stream, "peer={peer} here={here} name={name}")?;
    stream.shutdown(Shutdown::Write)?;
    // what an app says although nobody listens would make the close a reset
    stream.set_read_timeout(Some(LINGER))?;
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

const LINGER: Duration = Duration::from_secs(10);

/// As many descriptors as the system allows: a thousand connections need more than the usual soft limit.
pub(crate) fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

fn tcp(port: u16, handle: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> io::Result<()> {
    tcp_at((Ipv6Addr::UNSPECIFIED, port).into(), handle)
}

fn tcp_at(
    address: SocketAddr,
    handle: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> io::Result<()> {
    let listener = std::net::TcpListener::from(listening(address)?);
    let handle = Arc::new(handle);
    spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                thread::sleep(Duration::from_millis(10));
                continue;
            };
            let handle = handle.clone();
            // how a single connection ends is the client's to judge
            let _ = thread::Builder::new().stack_size(STACK).spawn(move || handle(stream));
        }
    })
}

fn listening(address: SocketAddr) -> io::Result<Socket> {
    let socket = bound(Type::STREAM, Protocol::TCP, address.ip(), address.port())?;
    socket.listen(4096)?;
    Ok(socket)
}

fn udp(
    address: IpAddr,
    port: u16,
    answer: impl Fn(&[u8], SocketAddr) -> Vec<u8> + Send + 'static,
) -> io::Result<()> {
    let socket = UdpSocket::from(bound(Type::DGRAM, Protocol::UDP, address, port)?);
    spawn(move || {
        let mut buffer = vec![0; 65536];
        loop {
            if let Ok((n, peer)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&answer(&buffer[..n], peer), peer);
            }
        }
    })
}

fn spawn(run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().spawn(run).map(drop)
}

/// On `::` it takes IPv4 too.
fn bound(kind: Type, protocol: Protocol, address: IpAddr, port: u16) -> io::Result<Socket> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((address, port)).into())?;
    Ok(socket)
}

/// One request per connection: `/download?bytes=N`, `POST /upload`, and for anything else who is talking to whom.
fn http(mut stream: &TcpStream, name: &str) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut request, mut length, mut line) = (String::new(), 0, String::new());
    reader.read_line(&mut request)?;
    while reader.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = crate::num(value.trim());
        }
        if line.to_ascii_lowercase().starts_with("expect: 100-continue") {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        line.clear();
    }
    let received = io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
    let path = request.split_whitespace().nth(1).unwrap_or("/");
    if let Some(bytes) = path.strip_prefix("/download?bytes=") {
        let bytes = crate::num(bytes);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n")?;
        return crate::pattern::write(&mut stream, bytes, 1);
    }
    let body = json!({
        "name": name, "peer": plain(stream.peer_addr()?), "here": plain(stream.local_addr()?), "received": received,
    });
    let body = format!("{body}\n");
    let size = body.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n{body}")
}

/// `::ffff:10.0.0.1` as `10.0.0.1`.
fn plain(address: SocketAddr) -> String {
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}
