//! Every map and every load-time setting, by the names the daemon uses.

use aya_ebpf::Global;
use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, SockMap};
use tp_common::Addr;
use tp_common::dns::{DnsClient, DnsServer, MAX_DNS};
use tp_common::flow::{FlowKey, FlowValue, MAX_FLOWS};
use tp_common::outcome::Outcome;
use tp_common::recursion::{MAX_NODE_SIDE, MAX_RECURSION, RecursionKey, RecursionValue};
use tp_common::vip::{FragmentKey, MAX_FRAGMENTED, MAX_NAT, MAX_VIPS, NatKey};

#[unsafe(no_mangle)]
pub static TUN_IF: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static PAIR_IF: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static LINK_LEN: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static DNS_V4: Global<Addr> = Global::new(Addr([0; 4]));
#[unsafe(no_mangle)]
pub static DNS_V6: Global<Addr> = Global::new(Addr([0; 4]));
#[unsafe(no_mangle)]
pub static NETNS_COOKIE: Global<u64> = Global::new(0);

#[map]
pub static OUTCOMES: PerCpuArray<u64> = PerCpuArray::with_max_entries(Outcome::COUNT, 0);
/// UDP flows the daemon has admitted.
#[map]
pub static FLOWS: HashMap<FlowKey, FlowValue> = HashMap::with_max_entries(MAX_FLOWS, BPF_F_NO_PREALLOC);
/// VIP -> cluster address.
#[map]
pub static VIPS: HashMap<Addr, Addr> = HashMap::with_max_entries(MAX_VIPS, BPF_F_NO_PREALLOC);
/// Not 0 while a VIP is rewritten: else no packet pays for a look-up.
#[map]
pub static VIP_COUNT: Array<u32> = Array::with_max_entries(1, 0);
/// Flow as the private namespace sees it -> the VIP the app believes to talk to.
#[map]
pub static NAT: HashMap<NatKey, Addr> = HashMap::with_max_entries(MAX_NAT, BPF_F_NO_PREALLOC);
#[map]
pub static FRAGMENTS: LruHashMap<FragmentKey, Addr> = LruHashMap::with_max_entries(MAX_FRAGMENTED, 0);
/// Nanoseconds for which an IP:PORT stays closed to others once a flow to it is established; 0 = it never is closed.
#[map]
pub static BLOCK: Array<u64> = Array::with_max_entries(1, 0);
#[map]
pub static RECURSION: LruHashMap<RecursionKey, RecursionValue> =
    LruHashMap::with_max_entries(MAX_RECURSION, 0);
/// Interfaces behind which the cluster's nodes live.
#[map]
pub static NODE_SIDE: HashMap<u32, u32> = HashMap::with_max_entries(MAX_NODE_SIDE, 0);
#[map]
pub static LISTENERS: SockMap = SockMap::with_max_entries(2, 0);
/// Socket cookie -> the server the app asked.
#[map]
pub static DNS_ORIG: LruHashMap<u64, DnsServer> = LruHashMap::with_max_entries(MAX_DNS, 0);
/// The app's end of a query -> the server it asked.
#[map]
pub static DNS_CLIENTS: LruHashMap<DnsClient, DnsServer> = LruHashMap::with_max_entries(MAX_DNS, 0);
/// Thread group of the daemon, whose own queries are left alone.
#[map]
pub static DAEMON: Array<u32> = Array::with_max_entries(1, 0);
