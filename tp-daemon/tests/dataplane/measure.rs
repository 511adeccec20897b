//! What the dataplane costs, against loopback with the same code in the same run. Not a test of anything:
//!
//! `cargo test --release -p tp-daemon --test dataplane measure -- --ignored --nocapture`

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};
use tokio::net::TcpListener;

use crate::far_end::{COUNT, count};
use crate::site::{Site, V4, V6, at, site};
use crate::vip::{VIP_OF_HIDDEN, VIP_OF_HIDDEN_V6, set_usual_vips};

pub(crate) const ROUNDS: usize = 5;
const CONNECTS: usize = 3000;
const CONNECTS_APART: usize = 300;
/// Longer than the work that a connect leaves behind at both ends.
const APART: Duration = Duration::from_millis(2);
const AT_ONCE: usize = 64;
const EACH: usize = 100;
const SECONDS: u64 = 2;

#[test]
#[ignore = "a measurement"]
fn against_loopback() {
    site(|site| {
        let targets = [("loopback", serve_loopback(site)), PLAIN[0].at(), PLAIN[1].at()];
        compare(&targets);
        // From here on every packet looks for VIPs.
        set_usual_vips(site);
        compare(&[targets[0], targets[1], targets[2], VIPS[0].at(), VIPS[1].at()]);
    });
}

/// The second half alone, for `cargo xtask bench`, which has the first from [`crate::measure_dataplanes`].
#[test]
#[ignore = "a measurement"]
fn with_vips() {
    site(|site| {
        set_usual_vips(site);
        compare(&[
            ("loopback", serve_loopback(site)),
            PLAIN[0].at(),
            PLAIN[1].at(),
            VIPS[0].at(),
            VIPS[1].at(),
        ]);
    });
}

/// Only the connects: the part that is quick to repeat.
#[test]
#[ignore = "a measurement"]
fn connects_against_loopback() {
    site(|site| {
        let targets = [("loopback", serve_loopback(site)), PLAIN[0].at(), PLAIN[1].at()];
        connects(&targets);
        set_usual_vips(site);
        connects(&[targets[0], VIPS[0].at()]);
    });
}

/// One connect after the other alone: the part that takes seconds.
#[test]
#[ignore = "a measurement"]
fn one_connect_against_loopback() {
    site(|site| {
        let targets = [("loopback", serve_loopback(site)), PLAIN[0].at(), PLAIN[1].at()];
        report("connect p50", "us", &targets, connect_p50);
        report("connect apart p50", "us", &targets, connect_apart_p50);
    });
}

/// The kernel's own account of what a packet costs in our programs. A busy machine disturbs it less than the rest.
#[test]
#[ignore = "a measurement"]
fn the_programs_alone() {
    site(|site| {
        let _stats = enable_stats(Stats::RunTime).unwrap();
        PLAIN.iter().for_each(cost);
        set_usual_vips(site);
        PLAIN.iter().chain(&VIPS).for_each(cost);
    });
}

struct Target(&'static str, &'static str);

const PLAIN: [Target; 2] = [Target("v4", V4), Target("v6", V6)];
/// Of addresses that are not routed too: the same port to both names of one address is refused.
const VIPS: [Target; 2] = [Target("VIP v4", VIP_OF_HIDDEN), Target("VIP v6", VIP_OF_HIDDEN_V6)];

impl Target {
    fn at(&self) -> (&'static str, SocketAddr) {
        (self.0, at(self.1, COUNT))
    }
}

fn compare(targets: &[(&str, SocketAddr)]) {
    for (name, streams) in [("1 stream", 1), ("8 streams", 8)] {
        report(name, "Gbit/s", targets, |target| throughput(target, streams));
    }
    connects(targets);
}

fn connects(targets: &[(&str, SocketAddr)]) {
    report("connect p50", "us", targets, connect_p50);
    report("connects, 64 at once", "1/s", targets, connects_at_once);
}

fn cost(target: &Target) {
    let (name, at) = target.at();
    let before = programs();
    throughput(at, 1);
    for (program, (time, runs)) in programs() {
        let (time_before, runs_before) = before.get(&program).copied().unwrap_or_default();
        if runs > runs_before {
            let mean = (time - time_before).as_nanos() as f64 / (runs - runs_before) as f64;
            println!("{program}, 1 stream {name}: {mean:.0} ns a run, {} runs", runs - runs_before);
        }
    }
}

/// What the packet programs have cost since they were loaded. Others of these names may be loaded on this machine: ours
/// are the youngest.
fn programs() -> BTreeMap<String, (Duration, u64)> {
    let mut found = BTreeMap::new();
    for program in loaded_programs().filter_map(Result::ok) {
        let name = program.name_as_str().unwrap_or_default().to_owned();
        if ["from_app", "from_listener"].contains(&name.as_str()) {
            found.insert(name, (program.run_time(), program.run_count()));
        }
    }
    found
}

/// Alternates between the targets, and shows the median of the rounds and its ratio to the first target's.
fn report(what: &str, unit: &str, targets: &[(&str, SocketAddr)], measure: impl Fn(SocketAddr) -> f64) {
    let mut results = vec![Vec::new(); targets.len()];
    for _ in 0..ROUNDS {
        for (results, (_, target)) in results.iter_mut().zip(targets) {
            results.push(measure(*target));
        }
    }
    let mut first = None;
    for (results, (name, _)) in results.iter_mut().zip(targets) {
        if std::env::var_os("TP_MEASURE_JSON").is_some() {
            // for `cargo xtask bench`, in the order of the rounds
            println!(r#"{{"what":"{what}","target":"{name}","unit":"{unit}","values":{results:?}}}"#);
        }
        results.sort_by(f64::total_cmp);
        let median = results[ROUNDS / 2];
        let ratio = median / *first.get_or_insert(median);
        println!(
            "{what}, {name}: {median:.1} {unit} ({:.1}-{:.1}), {ratio:.2} x loopback",
            results[0],
            results[ROUNDS - 1]
        );
    }
}

fn serve_loopback(site: &Site) -> SocketAddr {
    site.runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(count(stream));
            }
        });
        address
    })
}

fn throughput(target: SocketAddr, streams: usize) -> f64 {
    let start = Instant::now();
    let senders: Vec<_> = (0..streams)
        .map(|_| {
            thread::spawn(move || {
                let mut stream = TcpStream::connect(target).unwrap();
                let (block, mut sent) = (vec![0; 1 << 18], 0u64);
                while start.elapsed() < Duration::from_secs(SECONDS) {
                    stream.write_all(&block).unwrap();
                    sent += block.len() as u64;
                }
                stream.shutdown(Shutdown::Write).unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                assert_eq!(answer, sent.to_string(), "every byte arrived");
                sent
            })
        })
        .collect();
    let bytes: u64 = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
    bytes as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e9
}

/// Connect and reset, by as many threads.
fn connects_at_once(target: SocketAddr) -> f64 {
    let start = Instant::now();
    let clients: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            thread::spawn(move || {
                for _ in 0..EACH {
                    let stream = TcpStream::connect(target).unwrap();
                    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    (AT_ONCE * EACH) as f64 / start.elapsed().as_secs_f64()
}

/// One right after the other: in the time is also what the one before left to be done.
pub(crate) fn connect_p50(target: SocketAddr) -> f64 {
    connect_time(target, CONNECTS, || ())
}

/// As a program does that connects now and then.
pub(crate) fn connect_apart_p50(target: SocketAddr) -> f64 {
    connect_time(target, CONNECTS_APART, || thread::sleep(APART))
}

fn connect_time(target: SocketAddr, how_many: usize, between: impl Fn()) -> f64 {
    let mut times: Vec<Duration> = (0..how_many)
        .map(|_| {
            between();
            let start = Instant::now();
            let stream = TcpStream::connect(target).unwrap();
            let time = start.elapsed();
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            time
        })
        .collect();
    times.sort();
    times[how_many / 2].as_secs_f64() * 1e6
}
