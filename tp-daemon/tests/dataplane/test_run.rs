//! The packet programs one packet at a time (PROG_TEST_RUN): which exit each kind of packet takes, and what the
//! packet looks like afterwards. Every exit of the three programs that a packet alone can provoke is here.
//!
//! A test packet has complete checksums (CHECKSUM_NONE); for unfinished ones see `wire`.

mod exits;
mod quotes;
mod refusing;
mod rewriting;

use std::net::{IpAddr, SocketAddr};

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, PerCpuArray};
use aya::programs::{SchedClassifier, TestRun, TestRunOptions};
use tp_common::Addr;
use tp_common::flow::{FlowKey, FlowValue};
use tp_common::outcome::{Outcome, Verdict};
use tp_common::recursion::{ESTABLISHED, RecursionKey, RecursionValue};
use tp_common::vip::NatKey;
use tp_daemon::dataplane::programs::{Settings, load};

use crate::site::{V4, V6, at};

const APP_V4: &str = "198.18.84.113";
const APP_V6: &str = "fd74:7074::1";
const VIP_V4: &str = "246.246.0.1";
const VIP_V6: &str = "fd74:7076::1";
const ETHERNET: usize = 14;

struct Programs(Ebpf);

impl Programs {
    fn new() -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "the dataplane's tests need root: sudo -E cargo test -p tp-daemon"
        );
        let address = |text: &str| Addr::from(text.parse::<IpAddr>().unwrap());
        let settings = Settings {
            tun_if: 1,
            pair_if: 1,
            link_len: 14, // the kernel puts an Ethernet header before every test packet
            dns_v4: address("198.18.84.114"),
            dns_v6: address("fd74:7074::2"),
            netns_cookie: 1,
            log_level: 0,
        };
        Self(load(&settings).unwrap())
    }

    fn with_block() -> Self {
        let mut programs = Self::new();
        let mut block: Array<_, u64> = programs.0.map_mut("BLOCK").unwrap().try_into().unwrap();
        block.set(0, 1, 0).unwrap();
        programs
    }

    fn with_vips() -> Self {
        let mut programs = Self::new();
        programs.knows_vip(addr(VIP_V4), addr(V4));
        programs.knows_vip(addr(VIP_V6), addr(V6));
        programs
    }

    fn knows_vip(&mut self, vip: Addr, inside: Addr) {
        let mut vips: HashMap<_, Addr, Addr> = self.0.map_mut("VIPS").unwrap().try_into().unwrap();
        vips.insert(vip, inside, 0).unwrap();
        let mut count: Array<_, u32> = self.0.map_mut("VIP_COUNT").unwrap().try_into().unwrap();
        count.set(0, 1, 0).unwrap();
    }

    fn knows_flow(&mut self, app: SocketAddr, dest: SocketAddr) {
        let mut flows: HashMap<_, FlowKey, FlowValue> = self.0.map_mut("FLOWS").unwrap().try_into().unwrap();
        let (app_port, dest_port) = (app.port(), dest.port());
        let (app, dest) = (Addr::from(app.ip()), Addr::from(dest.ip()));
        let key = FlowKey { app, dest, app_port, dest_port, proto: 17, zero: [0; 3] };
        flows.insert(key, FlowValue::default(), 0).unwrap();
    }

    fn knows_vip_flow(&mut self, app: SocketAddr, cluster: SocketAddr, proto: u8, vip: IpAddr) {
        let mut nat: HashMap<_, NatKey, Addr> = self.0.map_mut("NAT").unwrap().try_into().unwrap();
        let (app_port, cluster_port) = (app.port(), cluster.port());
        let (app, cluster) = (Addr::from(app.ip()), Addr::from(cluster.ip()));
        nat.insert(NatKey { app, cluster, app_port, cluster_port, proto, zero: [0; 3] }, Addr::from(vip), 0)
            .unwrap();
    }

    /// Makes another flow, or none, the one that closes an address.
    fn closed_by(&mut self, dest: SocketAddr, first: Option<(SocketAddr, u64)>) {
        let mut closed = self.recursion();
        let _ = closed.remove(&recursion_key(dest));
        if let Some((app, expiry_ns)) = first {
            let (app, app_port) = (Addr::from(app.ip()), app.port());
            let value = RecursionValue { expiry_ns, app, app_port, state: ESTABLISHED, zero: [0; 5] };
            closed.insert(recursion_key(dest), value, 0).unwrap();
        }
    }

    fn closed(&mut self, dest: SocketAddr) -> Option<RecursionValue> {
        self.recursion().get(&recursion_key(dest), 0).ok()
    }

    fn recursion(&mut self) -> HashMap<&mut MapData, RecursionKey, RecursionValue> {
        self.0.map_mut("RECURSION").unwrap().try_into().unwrap()
    }

    /// Runs a program on one packet: the counters that moved (exactly one must) and the packet it leaves.
    fn run(&self, program: &str, packet: &[u8]) -> (&'static str, Vec<u8>) {
        let before = self.counters();
        let kind = if packet[0] >> 4 == 6 { [0x86, 0xdd] } else { [0x08, 0x00] };
        self.run_frame(program, &[&[2; 12][..], &kind, packet].concat(), &before)
    }

    fn run_frame(&self, program: &str, frame: &[u8], before: &[u64]) -> (&'static str, Vec<u8>) {
        let classifier: &SchedClassifier = self.0.program(program).unwrap().try_into().unwrap();
        let mut out = vec![0; frame.len() + 64];
        let options =
            TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..TestRunOptions::default() };
        let result = classifier.test_run(options).unwrap();
        out.truncate(result.data_size_out as usize);
        let moved: Vec<Outcome> = Outcome::ALL
            .iter()
            .zip(before.iter().zip(self.counters()))
            .flat_map(|(outcome, (before, after))| (*before..after).map(|_| *outcome))
            .collect();
        assert_eq!(moved.len(), 1, "one exit, one count: {moved:?}");
        let verdict = match moved[0].verdict() {
            Verdict::Pass => 0,
            Verdict::Drop => 2,
            Verdict::Cross | Verdict::ToApp => 7,
        };
        assert_eq!(result.return_value, verdict, "{:?}", moved[0]);
        (moved[0].name(), out)
    }

    fn counters(&self) -> Vec<u64> {
        let map: PerCpuArray<_, u64> = self.0.map("OUTCOMES").unwrap().try_into().unwrap();
        (0..Outcome::COUNT).map(|index| map.get(&index, 0).unwrap().iter().sum()).collect()
    }
}

fn recursion_key(dest: SocketAddr) -> RecursionKey {
    RecursionKey { dest: Addr::from(dest.ip()), port: dest.port(), proto: 6, zero: 0 }
}

fn addr(text: &str) -> Addr {
    Addr::from(text.parse::<IpAddr>().unwrap())
}

/// Both families: app, cluster address, VIP.
fn families() -> [(SocketAddr, SocketAddr, SocketAddr); 2] {
    [(at(APP_V4, 4000), at(V4, 80), at(VIP_V4, 80)), (at(APP_V6, 4000), at(V6, 80), at(VIP_V6, 80))]
}
