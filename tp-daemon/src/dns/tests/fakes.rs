//! A dataplane on loopback, a cluster in a map, and a machine's own DNS server in a closure.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tp_core::addr::AppAddr;
use tp_core::flow::Proto;
use tp_core::vips::Change;

use crate::dataplane::{Arrival, Dataplane, DnsSockets, MapDump, Reach};
use crate::dns::machine::Machine;
use crate::dns::upstream::{read_message, write_message};
use crate::dns::{
    Answer, ClusterLookup, ClusterNames, DnsHandle, Looking, LookupError, NoneLeft, Prepared, Server,
    Translation,
};

/// A running server with everything around it.
pub(in crate::dns) struct Bench {
    pub(in crate::dns) handle: DnsHandle,
    pub(in crate::dns) plane: Plane,
    pub(in crate::dns) cluster: Cluster,
    pub(in crate::dns) own: Own,
    server: SocketAddr,
}

impl Bench {
    pub(in crate::dns) async fn start(cluster: Cluster, own: Own) -> Self {
        let plane = Plane::new(own.address).await;
        let server = plane.server;
        let nowhere = Machine::at("/nonexistent".into(), "/nonexistent".into());
        let names = ClusterNames { lookup: Arc::new(cluster.clone()), translation: Arc::new(Shifted) };
        let handle = Server::start_on(Prepared::default(), plane.clone(), names, super::config(), nowhere)
            .await
            .unwrap();
        Self { handle, plane, cluster, own, server }
    }

    pub(in crate::dns) fn hooks(&self) -> &'static str {
        self.plane.hooks()
    }

    pub(in crate::dns) async fn udp(&self, query: &[u8]) -> Vec<u8> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(query, self.server).await.unwrap();
        let mut response = vec![0; 65_535];
        let len = socket.recv(&mut response).await.unwrap();
        response.truncate(len);
        response
    }

    pub(in crate::dns) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server).await.unwrap()
    }

    pub(in crate::dns) async fn tcp(&self, query: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await;
        write_message(&mut stream, query).await.unwrap();
        read_message(&mut stream).await.unwrap().unwrap()
    }
}

#[derive(Clone)]
pub(in crate::dns) struct Plane {
    sockets: Arc<Mutex<Option<DnsSockets>>>,
    server: SocketAddr,
    asked: Arc<Mutex<Option<SocketAddr>>>,
    hooks: Arc<Mutex<&'static str>>,
}

impl Plane {
    async fn new(asked: SocketAddr) -> Self {
        let (udp, tcp) = port_of("127.0.0.1").await;
        let server = udp.local_addr().unwrap();
        Self {
            sockets: Arc::new(Mutex::new(Some(DnsSockets { udp: vec![udp], tcp: vec![tcp] }))),
            server,
            asked: Arc::new(Mutex::new(Some(asked))),
            hooks: Arc::new(Mutex::new("never attached")),
        }
    }

    pub(in crate::dns) fn hooks(&self) -> &'static str {
        *self.hooks.lock().unwrap()
    }

    /// The server that apps ask from now on; `None`: ours.
    pub(in crate::dns) fn apps_ask(&self, server: Option<SocketAddr>) {
        *self.asked.lock().unwrap() = server;
    }

    pub(in crate::dns) fn server(&self) -> SocketAddr {
        self.server
    }
}

impl Dataplane for Plane {
    async fn next(&self) -> Option<Arrival> {
        None
    }

    async fn set_reach(&self, _: &Reach) -> io::Result<()> {
        Ok(())
    }

    fn change_vips(&self, _: &[Change]) -> io::Result<()> {
        Ok(())
    }

    fn set_recursion_block(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn set_node_side(&self, _: &[u32]) -> io::Result<()> {
        Ok(())
    }

    fn links(&self) -> Vec<u32> {
        Vec::new()
    }

    fn dns_sockets(&self) -> io::Result<DnsSockets> {
        self.sockets.lock().unwrap().take().ok_or_else(|| io::Error::other("taken"))
    }

    fn original_server(&self, _: AppAddr, _: Proto) -> Option<SocketAddr> {
        *self.asked.lock().unwrap()
    }

    fn attach_dns_hooks(&self) -> io::Result<()> {
        *self.hooks.lock().unwrap() = "attached";
        Ok(())
    }

    fn detach_dns_hooks(&self) {
        *self.hooks.lock().unwrap() = "detached";
    }

    fn dump(&self, _: Option<&str>) -> io::Result<Vec<MapDump>> {
        Ok(Vec::new())
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

type Known = HashMap<(String, u16), Result<Answer, LookupError>>;

/// Names that are not known do not exist.
#[derive(Clone, Default)]
pub(in crate::dns) struct Cluster {
    known: Arc<Mutex<Known>>,
    asked: Arc<AtomicUsize>,
    slow: Arc<Mutex<Duration>>,
    asks_back: Arc<Mutex<Option<SocketAddr>>>,
}

impl Cluster {
    pub(in crate::dns) fn knows(&self, name: &str, rtype: u16, records: Bytes) {
        self.says(name, rtype, Ok(Answer { rcode: 0, records }));
    }

    pub(in crate::dns) fn says(&self, name: &str, rtype: u16, answer: Result<Answer, LookupError>) {
        self.known.lock().unwrap().insert((name.to_owned(), rtype), answer);
    }

    pub(in crate::dns) fn answers_after(&self, delay: Duration) {
        *self.slow.lock().unwrap() = delay;
    }

    /// What it does not know it asks of this server, as a cluster on the workstation itself does.
    pub(in crate::dns) fn asks_back(&self, server: SocketAddr) {
        *self.asks_back.lock().unwrap() = Some(server);
    }

    pub(in crate::dns) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl ClusterLookup for Cluster {
    fn lookup(&self, name: &str, rtype: u16) -> Looking {
        // the server's own check for loops is no app's question
        if !name.starts_with("tp-loop-check.") {
            self.asked.fetch_add(1, Ordering::SeqCst);
        }
        let known = self.known.lock().unwrap().get(&(name.to_owned(), rtype)).cloned();
        let delay = *self.slow.lock().unwrap();
        let asks_back = self.asks_back.lock().unwrap().map(|server| (server, name.to_owned()));
        Box::pin(async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            if let (None, Some((server, name))) = (&known, asks_back) {
                let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                let query = message::query(name.trim_end_matches('.'), rtype);
                socket.send_to(&query, server).await.unwrap();
                let mut response = [0; 512];
                socket.recv(&mut response).await.unwrap();
                return Ok(Answer { rcode: (response[3] & 0xf).into(), records: Bytes::new() });
            }
            known.unwrap_or(Ok(Answer { rcode: 3, records: Bytes::new() }))
        })
    }
}

/// 10.77.0.0/16 is known as 240.77.0.0/16, fd77::/16 as fd78::/16, and 10.78.0.0/16 has no virtual address left.
#[derive(Clone, Copy)]
struct Shifted;

impl Translation for Shifted {
    fn to_app(&self, cluster: IpAddr) -> Result<Option<IpAddr>, NoneLeft> {
        match cluster {
            IpAddr::V4(v4) if v4.octets()[..2] == [10, 77] => {
                let [_, rest @ ..] = v4.octets();
                Ok(Some([240, rest[0], rest[1], rest[2]].into()))
            }
            IpAddr::V4(v4) if v4.octets()[..2] == [10, 78] => Err(NoneLeft),
            IpAddr::V6(v6) if v6.segments()[0] == 0xfd77 => {
                let [_, rest @ ..] = v6.segments();
                Ok(Some([0xfd78, rest[0], rest[1], rest[2], rest[3], rest[4], rest[5], rest[6]].into()))
            }
            _ => Ok(None),
        }
    }

    fn to_cluster(&self, vip: IpAddr) -> Option<IpAddr> {
        match vip {
            IpAddr::V4(v4) if v4.octets()[..2] == [240, 77] => {
                let [_, rest @ ..] = v4.octets();
                Some([10, rest[0], rest[1], rest[2]].into())
            }
            _ => None,
        }
    }
}

type Answers = Arc<dyn Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync>;

/// The machine's own server. Keeps what it was asked.
#[derive(Clone)]
pub(in crate::dns) struct Own {
    pub(in crate::dns) address: SocketAddr,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Own {
    pub(in crate::dns) async fn silent() -> Self {
        Self::sending(|_| Vec::new()).await
    }

    pub(in crate::dns) async fn answering(
        answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Self::sending(move |query| answer(query).into_iter().collect()).await
    }

    /// On another address than the server under test, which never asks itself.
    pub(in crate::dns) async fn sending(
        answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let (udp, tcp) = port_of("127.0.0.2").await;
        let address = udp.local_addr().unwrap();
        let own = Self { address, heard: Arc::default() };
        let answers: Answers = Arc::new(answers);
        tokio::spawn(own.clone().serve_udp(udp, Arc::clone(&answers)));
        tokio::spawn(own.clone().serve_tcp(tcp, answers));
        own
    }

    pub(in crate::dns) fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().unwrap().clone()
    }

    async fn serve_udp(self, socket: UdpSocket, answers: Answers) {
        let mut query = vec![0; 65_535];
        while let Ok((len, from)) = socket.recv_from(&mut query).await {
            self.heard.lock().unwrap().push(query[..len].to_vec());
            for answer in answers(&query[..len]) {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    }

    async fn serve_tcp(self, listener: TcpListener, answers: Answers) {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (own, answers) = (self.clone(), Arc::clone(&answers));
            tokio::spawn(async move {
                while let Ok(Some(query)) = read_message(&mut stream).await {
                    own.heard.lock().unwrap().push(query.clone());
                    for answer in answers(&query) {
                        write_message(&mut stream, &answer).await.unwrap();
                    }
                }
            });
        }
    }
}

/// A port that is free for both protocols.
async fn port_of(ip: &str) -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind((ip, 0)).await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
}

/// Address records as the manager sends them.
pub(in crate::dns) fn records(name: &str, addresses: &[&str]) -> Bytes {
    let mut bytes = Vec::new();
    for address in addresses {
        for label in name.split('.') {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend(label.as_bytes());
        }
        let (rtype, data) = match address.parse().unwrap() {
            IpAddr::V4(v4) => (1u16, v4.octets().to_vec()),
            IpAddr::V6(v6) => (28, v6.octets().to_vec()),
        };
        bytes.extend(rtype.to_be_bytes());
        bytes.extend([0, 1, 0, 0, 14, 16]); // class, TTL 3600
        bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend(data);
    }
    bytes.into()
}

/// Messages, made and taken apart by other code than the server's.
pub(in crate::dns) mod message {
    use hickory_server::proto::op::Message;
    use hickory_server::proto::rr::RData;

    /// Without EDNS.
    pub(in crate::dns) fn query(name: &str, rtype: u16) -> Vec<u8> {
        let mut query = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(u8::try_from(label.len()).unwrap());
            query.extend(label.as_bytes());
        }
        query.push(0);
        query.extend(rtype.to_be_bytes());
        query.extend([0, 1]);
        query
    }

    /// With EDNS, the DO bit and an option that nobody knows.
    pub(in crate::dns) fn with_edns(mut query: Vec<u8>) -> Vec<u8> {
        query[11] = 1;
        query.extend([0, 0, 41, 0x10, 0, 0, 0, 0x80, 0, 0, 6, 0xfd, 0xe9, 0, 2, 7, 7]);
        query
    }

    /// The question again, and a code.
    pub(in crate::dns) fn reply(query: &[u8], rcode: u8) -> Vec<u8> {
        let mut reply = query.to_vec();
        reply[2] |= 0x80;
        reply[3] = 0x80 | rcode;
        reply
    }

    /// With a record of type A that only this server gives.
    pub(in crate::dns) fn answer(query: &[u8], address: [u8; 4]) -> Vec<u8> {
        let end = query[12..].iter().position(|byte| *byte == 0).unwrap() + 17;
        let mut reply = reply(&query[..end], 0);
        reply[7] = 1;
        reply[11] = 0;
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        reply.extend(address);
        reply
    }

    pub(in crate::dns) fn parse(message: &[u8]) -> Message {
        Message::from_vec(message).unwrap()
    }

    pub(in crate::dns) fn code(message: &[u8]) -> u16 {
        parse(message).metadata.response_code.into()
    }

    pub(in crate::dns) fn addresses(message: &[u8]) -> Vec<String> {
        let address = |data: &RData| data.ip_addr().map(|ip| ip.to_string());
        parse(message).answers.iter().filter_map(|record| address(&record.data)).collect()
    }
}
