//! The dataplanes side by side, from the app's socket to the daemon's: both ends and the dataplane between run in this one
//! process, whose time on the processor is counted. Not a test of anything:
//!
//! `cargo test --profile profiling -p tp-daemon --test dataplane measure_dataplanes -- --ignored --nocapture`

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use tokio::net::{TcpListener, TcpStream as AsyncStream};
use tp_daemon::dataplane::{Choice, Reach, Segments, setup};

use crate::far_end::{COUNT, ECHO, POUR, count, echo, pour};
use crate::measure::{ROUNDS, connect_apart_p50, connect_p50};
use crate::namespace::in_namespace;
use crate::site::{NETWORKS, USERSPACE, USERSPACE_1500, V4, V6, at, echoes, options, sh, site_of};

const LONG: Duration = Duration::from_secs(1);
const ROUND_TRIPS: usize = 5000;

/// For `cargo xtask bench`.
#[test]
#[ignore = "a measurement"]
fn side_by_side() {
    let places = [
        Place::loopback(),
        Place::with("ebpf", Choice::Ebpf, V4),
        Place::with("ebpf-v6", Choice::Ebpf, V6),
        Place::with("userspace", USERSPACE, V4),
        Place::with("userspace-1500", USERSPACE_1500, V4),
        Place::echo(),
    ];
    compare(&places, &CASES);
    places.into_iter().for_each(Place::end);
}

/// The connects alone: quick to repeat.
#[test]
#[ignore = "a measurement"]
fn connects() {
    let places = [Place::loopback(), Place::with("ebpf", Choice::Ebpf, V4), Place::echo()];
    compare(&places, &CASES[5..]);
    places.into_iter().for_each(Place::end);
}

/// What the size of segments is worth, for docs/performance.md.
#[test]
#[ignore = "a measurement"]
fn sizes_of_segments() {
    let userspace =
        |name, mtu, offloads| Place::with(name, Choice::Userspace(Segments { mtu, offloads }), V4);
    let places = [
        Place::with("ebpf", Choice::Ebpf, V4),
        userspace("offloads, MTU 16000", 16_000, true),
        userspace("offloads, MTU 1500", 1500, true),
        userspace("none, MTU 16000", 16_000, false),
        userspace("none, MTU 9000", 9000, false),
        userspace("none, MTU 1500", 1500, false),
    ];
    compare(&places, &CASES[..2]);
    places.into_iter().for_each(Place::end);
}

/// One direction for as long as a profiler wants to look: `TP_MEASURE_PLACE=userspace TP_MEASURE_CASE=upload-1`.
#[test]
#[ignore = "a measurement"]
fn one_case() {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let choice = variable("TP_MEASURE_PLACE").parse().unwrap();
    let place = Place::with("this", choice, V4);
    let case = variable("TP_MEASURE_CASE");
    let cases: Vec<Case> = CASES.iter().filter(|known| known.0 == case).copied().collect();
    compare(&[place], &cases);
}

/// Name, unit, and how it is measured.
type Case = (&'static str, &'static str, fn(Ends) -> f64);

const CASES: [Case; 7] = [
    ("upload-1", RATE, |ends| streams(1, ends.count, upload)),
    ("download-1", RATE, |ends| streams(1, ends.pour, download)),
    ("upload-8", RATE, |ends| streams(8, ends.count, upload)),
    ("download-8", RATE, |ends| streams(8, ends.pour, download)),
    ("round-trip-p50", "us", |ends| round_trip(ends.echo)),
    ("connect-p50", "us", |ends| connect_p50(ends.count)),
    ("connect-apart-p50", "us", |ends| connect_apart_p50(ends.count)),
];
const RATE: &str = "Gbit/s";

/// The far end's addresses.
#[derive(Clone, Copy)]
struct Ends {
    count: SocketAddr,
    pour: SocketAddr,
    echo: SocketAddr,
}

type Job = Box<dyn FnOnce(Ends) + Send>;

/// A network namespace with a dataplane in it, or with nothing but its loopback.
struct Place {
    name: &'static str,
    /// It carries no bytes.
    only_connects: bool,
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<()>,
}

impl Place {
    fn with(name: &'static str, choice: Choice, ip: &'static str) -> Self {
        assert!(NETWORKS.iter().any(|network| network[..4] == ip[..4]), "{ip} is routed");
        let ends = Ends { count: at(ip, COUNT), pour: at(ip, POUR), echo: at(ip, ECHO) };
        Self::new(name, move |jobs| {
            site_of(choice, options(), move |_| jobs.into_iter().for_each(|job| job(ends)));
        })
    }

    fn loopback() -> Self {
        Self::new("loopback", |jobs| {
            in_namespace(move || {
                // as the routes to tp0 say it: pacing by this machine's default would be no limit to compare with
                sh("echo reno > /proc/sys/net/ipv4/tcp_congestion_control");
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .enable_all()
                    .build()
                    .unwrap();
                let ends = runtime.block_on(async {
                    Ends { count: serve(count).await, pour: serve(pour).await, echo: serve(echo).await }
                });
                jobs.into_iter().for_each(|job| job(ends));
            });
        })
    }

    /// The least that a SYN's way through user space can cost: each comes back, and each connection is closed at once.
    fn echo() -> Self {
        let ends = Ends { count: at(V4, COUNT), pour: at(V4, POUR), echo: at(V4, ECHO) };
        let place = Self::new("echo", move |jobs| {
            in_namespace(move || {
                let prepared = setup(&options()).unwrap_or_else(|error| panic!("{error}"));
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let networks = NETWORKS.map(|network| network.parse().unwrap());
                let _echo = runtime.block_on(prepared.echo(&Reach::networks(&networks))).unwrap();
                jobs.into_iter().for_each(|job| job(ends));
            });
        });
        Self { only_connects: true, ..place }
    }

    fn can(&self, case: &Case) -> bool {
        !self.only_connects || case.0.starts_with("connect")
    }

    fn new(name: &'static str, live: impl FnOnce(mpsc::Receiver<Job>) + Send + 'static) -> Self {
        let (jobs, queue) = mpsc::channel();
        Self { name, only_connects: false, jobs, thread: thread::spawn(move || live(queue)) }
    }

    /// In the place; threads that the work starts are in there too.
    fn run<T: Send + 'static>(&self, work: impl FnOnce(Ends) -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        self.jobs.send(Box::new(move |ends| done.send(work(ends)).unwrap())).unwrap();
        result.recv().unwrap()
    }

    fn end(self) {
        drop(self.jobs);
        self.thread.join().unwrap();
    }
}

async fn serve<F: Future<Output = std::io::Result<()>> + Send + 'static>(
    end: impl Fn(AsyncStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(end(stream));
        }
    });
    address
}

/// The places take turns within each round, so that what the machine does besides disturbs all alike.
fn compare(places: &[Place], cases: &[Case]) {
    let rounds = std::env::var("TP_MEASURE_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    let pairs = cases.iter().flat_map(|case| places.iter().map(move |place| (case, place)));
    let all: Vec<(&Case, &Place)> = pairs.filter(|(case, place)| place.can(case)).collect();
    let mut results = vec![(Vec::new(), Vec::new()); all.len()];
    for _ in 0..rounds {
        for ((values, costs), ((_, unit, measure), place)) in results.iter_mut().zip(&all) {
            let (start, before, measure) = (Instant::now(), spent(), *measure);
            let value = place.run(measure);
            values.push(value);
            if *unit == RATE {
                let gigabytes = value / 8.0 * start.elapsed().as_secs_f64();
                costs.push((spent() - before) / gigabytes);
            }
        }
    }
    for ((values, costs), ((what, unit, _), place)) in results.iter().zip(&all) {
        show(what, place.name, unit, values);
        if !costs.is_empty() {
            show(&format!("{what}/cpu/process"), place.name, "s/GB", costs);
        }
    }
}

/// In the order of the rounds for `cargo xtask bench`, as median and range for people.
fn show(what: &str, target: &str, unit: &str, values: &[f64]) {
    if std::env::var_os("TP_MEASURE_JSON").is_some() {
        println!(r#"{{"what":"{what}","target":"{target}","unit":"{unit}","values":{values:?}}}"#);
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len() - 1;
    let (least, median, most) =
        (sorted[0], f64::midpoint(sorted[last / 2], sorted[last.div_ceil(2)]), sorted[last]);
    println!("{what}, {target}: {median:.2} {unit} ({least:.2}-{most:.2})");
}

/// Seconds of this process on the processors. What the kernel's own threads do is not in it.
fn spent() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
}

/// Gbit/s of that many streams at once, each of which says how many bytes it moved.
fn streams(how_many: usize, target: SocketAddr, work: fn(TcpStream, Instant) -> u64) -> f64 {
    let start = Instant::now();
    let all: Vec<_> = (0..how_many)
        .map(|_| thread::spawn(move || work(TcpStream::connect(target).unwrap(), start + LONG)))
        .collect();
    let bytes: u64 = all.into_iter().map(|stream| stream.join().unwrap()).sum();
    bytes as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e9
}

fn upload(mut stream: TcpStream, until: Instant) -> u64 {
    let (block, mut sent) = (vec![0; 1 << 18], 0u64);
    while Instant::now() < until {
        stream.write_all(&block).unwrap();
        sent += block.len() as u64;
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, sent.to_string(), "every byte arrived");
    sent
}

fn download(mut stream: TcpStream, until: Instant) -> u64 {
    let (mut buf, mut received) = (vec![0; 1 << 18], 0u64);
    while Instant::now() < until {
        received += stream.read(&mut buf).unwrap() as u64;
    }
    received
}

fn round_trip(target: SocketAddr) -> f64 {
    let mut stream = TcpStream::connect(target).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut times: Vec<Duration> = (0..ROUND_TRIPS)
        .map(|_| {
            let start = Instant::now();
            echoes(&mut stream, b"x");
            start.elapsed()
        })
        .collect();
    times.sort();
    times[ROUND_TRIPS / 2].as_secs_f64() * 1e6
}
