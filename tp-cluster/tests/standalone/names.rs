//! LookupDNS against a DNS server that the test plays itself.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, PTR, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use tokio::net::UdpSocket;
use tp_proto::manager::DnsRequest;

use super::site::Site;

/// What the cluster's DNS knows. A name with an empty list exists without records.
type Zone = HashMap<&'static str, Vec<RData>>;

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn zone() -> Zone {
    let echo = || vec![RData::A(A::new(10, 96, 0, 10))];
    HashMap::from([
        ("echo.default.svc.cluster.local.", echo()),
        (
            "echo.blue.svc.cluster.local.",
            vec![RData::A(A::new(10, 96, 0, 11)), RData::AAAA(AAAA::new(0xfd96, 0, 0, 0, 0, 0, 0, 1))],
        ),
        ("db-0.db.default.svc.cluster.local.", vec![RData::A(A::new(10, 244, 0, 7))]),
        (
            "alias.default.svc.cluster.local.",
            vec![RData::CNAME(CNAME(name("echo.default.svc.cluster.local.")))],
        ),
        (
            "_http._tcp.echo.default.svc.cluster.local.",
            vec![RData::SRV(SRV::new(0, 100, 80, name("echo.default.svc.cluster.local.")))],
        ),
        ("10.0.96.10.in-addr.arpa.", vec![RData::PTR(PTR(name("echo.default.svc.cluster.local.")))]),
        // a namespace exists as a name without records; the machine of that name is elsewhere
        ("printer.svc.cluster.local.", vec![]),
        ("printer.", vec![RData::A(A::new(192, 0, 2, 9))]),
        (
            "example.org.",
            vec![
                RData::MX(MX::new(10, name("mx.example.org."))),
                RData::TXT(TXT::new(vec!["a".into(), "bc".into()])),
            ],
        ),
    ])
}

struct Dns {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

/// Serves `zone` over UDP; names under `refused.` are refused, those under `silent.` get no answer.
async fn dns(zone: Zone) -> Dns {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let request = Message::read(&mut BinDecoder::new(&buffer[..len])).unwrap();
            let query = request.queries[0].clone();
            let asked = query.name().to_ascii().to_lowercase();
            log.lock().unwrap().push(format!("{asked} {}", query.query_type()));
            if asked.ends_with("silent.") {
                continue;
            }
            let mut response = Message::response(request.id, request.op_code);
            response.add_query(query.clone());
            match zone.get(&*asked) {
                _ if asked.ends_with("refused.") => {
                    response.metadata.response_code = ResponseCode::Refused;
                }
                None => {
                    response.metadata.response_code = ResponseCode::NXDomain;
                }
                Some(records) => {
                    let mut owner = query.name().clone();
                    let mut records = records.clone();
                    if let [RData::CNAME(CNAME(to))] = &records[..] {
                        let to = to.clone();
                        response.add_answer(Record::from_rdata(owner, 30, records[0].clone()));
                        records = zone[&*to.to_ascii()].clone();
                        owner = to;
                    }
                    for data in records.into_iter().filter(|data| data.record_type() == query.query_type()) {
                        response.add_answer(Record::from_rdata(owner.clone(), 30, data));
                    }
                }
            }
            let _ = socket.send_to(&response.to_vec().unwrap(), from).await;
        }
    });
    Dns { address, asked }
}

/// The answer's code and its records as text: `OWNER TYPE DATA`.
async fn lookup(site: &Site, name: &str, rtype: RecordType) -> (i32, Vec<String>) {
    let request = DnsRequest {
        session: Some(site.session.clone()),
        name: name.into(),
        r#type: u16::from(rtype).into(),
    };
    let response = site.client.clone().lookup_dns(request).await.unwrap().into_inner();
    let mut decoder = BinDecoder::new(&response.rrs);
    let mut records = Vec::new();
    while !decoder.is_empty() {
        let record = Record::<RData>::read(&mut decoder).unwrap();
        assert!(record.ttl <= 4);
        records.push(format!("{} {} {}", record.name, record.record_type(), record.data));
    }
    (response.r_code, records)
}

async fn site() -> (Site, Dns) {
    let dns = dns(zone()).await;
    (Site::with(&format!("--dns {}", dns.address)).await, dns)
}

#[tokio::test]
async fn names_as_a_pod_of_the_clients_namespace_sees_them() {
    let (site, _dns) = site().await;
    for (asked, rtype, expected) in [
        ("echo.", RecordType::A, &["echo. A 10.96.0.10"][..]),
        ("echo.blue.", RecordType::A, &["echo.blue. A 10.96.0.11"]),
        ("echo.blue.", RecordType::AAAA, &["echo.blue. AAAA fd96::1"]),
        ("echo.default.svc.cluster.local.", RecordType::A, &["echo.default.svc.cluster.local. A 10.96.0.10"]),
        ("db-0.db.", RecordType::A, &["db-0.db. A 10.244.0.7"]),
        (
            "alias.",
            RecordType::A,
            &["alias. CNAME echo.default.svc.cluster.local.", "echo.default.svc.cluster.local. A 10.96.0.10"],
        ),
        ("alias.", RecordType::CNAME, &["alias. CNAME echo.default.svc.cluster.local."]),
        (
            "_http._tcp.echo.",
            RecordType::SRV,
            &["_http._tcp.echo. SRV 0 100 80 echo.default.svc.cluster.local."],
        ),
        (
            "10.0.96.10.in-addr.arpa.",
            RecordType::PTR,
            &["10.0.96.10.in-addr.arpa. PTR echo.default.svc.cluster.local."],
        ),
        ("printer.", RecordType::A, &["printer. A 192.0.2.9"]),
        ("example.org.", RecordType::MX, &["example.org. MX 10 mx.example.org."]),
        ("example.org.", RecordType::TXT, &["example.org. TXT abc"]),
    ] {
        let (rcode, records) = lookup(&site, asked, rtype).await;
        assert_eq!(rcode, 0, "{asked} {rtype}");
        assert_eq!(records, expected, "{asked} {rtype}");
    }
}

#[tokio::test]
async fn what_is_not_there() {
    let (site, dns) = site().await;
    // exists, has no such record: the search ends there
    assert_eq!(lookup(&site, "echo.", RecordType::AAAA).await, (0, vec![]));
    assert!(!dns.asked.lock().unwrap().iter().any(|asked| asked.starts_with("echo.svc.cluster.local.")));
    assert_eq!(lookup(&site, "nobody.", RecordType::A).await, (3, vec![]));
    assert_eq!(lookup(&site, "nobody.default.svc.cluster.local.", RecordType::A).await, (3, vec![]));
    // a single label is nobody's name out there, whatever the server thinks of the question
    assert_eq!(lookup(&site, "refused.", RecordType::A).await, (3, vec![]));
    assert_eq!(lookup(&site, "www.refused.", RecordType::A).await, (2, vec![]));
    assert_eq!(lookup(&site, "www.silent.", RecordType::A).await, (2, vec![]));
    assert_eq!(lookup(&site, "echo.", RecordType::SOA).await, (4, vec![]));
    assert_eq!(lookup(&site, "a..b.", RecordType::A).await, (1, vec![]));
}

#[tokio::test]
async fn names_from_the_command_line() {
    let flags =
        "--host echo.default.svc.cluster.local=10.9.0.5 --host echo.default.svc.cluster.local=fd09::5";
    let site = Site::with(flags).await;
    assert_eq!(lookup(&site, "echo.", RecordType::A).await, (0, vec!["echo. A 10.9.0.5".into()]));
    assert_eq!(lookup(&site, "echo.", RecordType::AAAA).await, (0, vec!["echo. AAAA fd09::5".into()]));
    let ptr = lookup(&site, "5.0.9.10.in-addr.arpa.", RecordType::PTR).await;
    assert_eq!(ptr, (0, vec!["5.0.9.10.in-addr.arpa. PTR echo.default.svc.cluster.local.".into()]));
    assert_eq!(lookup(&site, "echo.", RecordType::TXT).await, (0, vec![]));
    // names of our own domain are never asked for outside
    assert_eq!(lookup(&site, "nobody.default.svc.cluster.local.", RecordType::A).await, (3, vec![]));
}
