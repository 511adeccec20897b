//! cgroup hooks: port 53 of this namespace's processes becomes our DNS server, and its answers come from the server
//! that was asked.

use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::helpers::bpf_get_current_comm;
use aya_ebpf::helpers::generated::{bpf_get_current_pid_tgid, bpf_get_netns_cookie, bpf_get_socket_cookie};
use tp_common::Addr;
use tp_common::dns::{DNS_PORT, DnsServer, IDENTIFY_PORT};
use tp_common::outcome::Outcome;

use crate::maps::{DAEMON, DNS_ORIG, DNS_V4, DNS_V6, NETNS_COOKIE};

/// Names of processes end after 15 characters.
const RESOLVED: &[u8; 16] = b"systemd-resolve\0";

/// connect4, sendmsg4
#[inline(always)]
pub fn to_v4(ctx: *mut bpf_sock_addr) -> Outcome {
    redirect(ctx, Addr::v4(ip4(ctx)), |dns| set_ip4(ctx, dns))
}

/// connect6, sendmsg6; a dual-stack socket names IPv4 servers in mapped form.
#[inline(always)]
pub fn to_v6(ctx: *mut bpf_sock_addr) -> Outcome {
    redirect(ctx, ip6(ctx), |dns| set_ip6(ctx, dns))
}

/// recvmsg4, getpeername4
#[inline(always)]
pub fn from_v4(ctx: *mut bpf_sock_addr) -> Outcome {
    restore(ctx, Addr::v4(ip4(ctx)), |server| set_ip4(ctx, server))
}

/// recvmsg6, getpeername6
#[inline(always)]
pub fn from_v6(ctx: *mut bpf_sock_addr) -> Outcome {
    restore(ctx, ip6(ctx), |server| set_ip6(ctx, server))
}

#[inline(always)]
fn redirect(ctx: *mut bpf_sock_addr, asked: Addr, set: impl Fn(Addr)) -> Outcome {
    let port = port(ctx);
    if port != DNS_PORT && port != IDENTIFY_PORT {
        return Outcome::DnsOther;
    }
    if !ours(ctx) {
        return Outcome::DnsOtherNamespace;
    }
    let dns = if asked.is_v4() { DNS_V4.load() } else { DNS_V6.load() };
    if port == IDENTIFY_PORT {
        return identify(asked == dns);
    }
    if DAEMON.get(0).is_some_and(|daemon| *daemon == this_process()) {
        return Outcome::DnsOwnSocket;
    }
    if dns.is_unset() {
        return Outcome::DnsNoAddress;
    }
    if tied_to_a_device(ctx) {
        return Outcome::DnsTiedSocket;
    }
    // SAFETY: a valid context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.cast()) };
    // By socket and in mapped form: a dual-stack socket sends through the v4 hook and receives through the v6 one. A
    // full LRU map makes room; without the entry the answer shows our own address.
    let _ = DNS_ORIG.insert(&cookie, &DnsServer { addr: asked, port: DNS_PORT, zero: 0 }, 0);
    set(dns);
    Outcome::DnsRedirected
}

#[inline(always)]
fn restore(ctx: *mut bpf_sock_addr, from: Addr, set: impl Fn(Addr)) -> Outcome {
    if port(ctx) != DNS_PORT || from != if from.is_v4() { DNS_V4.load() } else { DNS_V6.load() } {
        return Outcome::DnsOther;
    }
    if !ours(ctx) {
        return Outcome::DnsOtherNamespace;
    }
    // SAFETY: a valid context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.cast()) };
    // SAFETY: copied at once.
    match unsafe { DNS_ORIG.get(&cookie) } {
        Some(server) => {
            set(server.addr);
            Outcome::DnsRestored
        }
        None => Outcome::DnsOther, // asked us directly
    }
}

/// The first process to call after the hooks were attached is the daemon; see [`IDENTIFY_PORT`].
#[inline(always)]
fn identify(for_us: bool) -> Outcome {
    if for_us && let Some(daemon) = DAEMON.get_ptr_mut(0) {
        // SAFETY: the only slot of an array; written once.
        unsafe {
            if *daemon == 0 {
                *daemon = this_process();
                return Outcome::DnsIdentified;
            }
        }
    }
    Outcome::DnsOther
}

/// A query that must leave by one device cannot come to us by another. The socket says so itself, or it is one of
/// systemd-resolved's, which asks the servers of a link by that link (IP_UNICAST_IF, which no program can see here).
#[inline(always)]
fn tied_to_a_device(ctx: *mut bpf_sock_addr) -> bool {
    // SAFETY: the socket of a valid context is there for as long as the program runs.
    let bound = unsafe { (*(*ctx).__bindgen_anon_1.sk).bound_dev_if };
    bound != 0 || bpf_get_current_comm().is_ok_and(|name| name == *RESOLVED)
}

#[inline(always)]
fn this_process() -> u32 {
    // SAFETY: no arguments.
    (unsafe { bpf_get_current_pid_tgid() } >> 32) as u32
}

#[inline(always)]
fn ours(ctx: *mut bpf_sock_addr) -> bool {
    // SAFETY: a valid context.
    unsafe { bpf_get_netns_cookie(ctx.cast()) == NETNS_COOKIE.load() }
}

#[inline(always)]
fn port(ctx: *mut bpf_sock_addr) -> u16 {
    // SAFETY: a readable field of a valid context.
    u16::from_be(unsafe { (*ctx).user_port } as u16)
}

#[inline(always)]
fn ip4(ctx: *mut bpf_sock_addr) -> u32 {
    // SAFETY: as above.
    unsafe { (*ctx).user_ip4 }
}

#[inline(always)]
fn set_ip4(ctx: *mut bpf_sock_addr, to: Addr) {
    // SAFETY: a writable field of a valid context.
    unsafe { (*ctx).user_ip4 = to.0[3] };
}

#[inline(always)]
fn ip6(ctx: *mut bpf_sock_addr) -> Addr {
    // SAFETY: readable fields, one access per word, as the kernel wants it.
    unsafe {
        let words = (&raw const (*ctx).user_ip6).cast::<u32>();
        let word = |i: usize| words.add(i).read_volatile();
        Addr([word(0), word(1), word(2), word(3)])
    }
}

#[inline(always)]
fn set_ip6(ctx: *mut bpf_sock_addr, to: Addr) {
    // SAFETY: writable fields, one access per word.
    unsafe {
        let words = (&raw mut (*ctx).user_ip6).cast::<u32>();
        for i in 0..4 {
            words.add(i).write_volatile(to.0[i]);
        }
    }
}
