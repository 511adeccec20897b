//! What the user-space half of the dataplane counts: nothing is dropped or ignored uncounted here either.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counts {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Count { $($(#[$doc])* $variant,)+ }

        const NAMES: &[&str] = &[$($name,)+];
    };
}

counts! {
    /// A SYN or first datagram handed to the session.
    Arrived = "tun.arrived",
    /// A copy of a SYN that is held already.
    Retransmit = "tun.retransmit_ignored",
    /// A copy of a SYN that was admitted and has not become a connection: written back in its place.
    Again = "tun.syn_again",
    /// A later datagram of a flow that is still held: kept.
    Kept = "tun.datagram_kept",
    /// The same, beyond what is kept per flow.
    KeptTooMany = "tun.datagram_dropped",
    /// A datagram that was in the TUN's queue when its flow was admitted: written back.
    Late = "tun.datagram_late",
    /// The session does not take arrivals fast enough; the app's kernel sends the SYN again.
    QueueFull = "tun.queue_full",
    TooManyHeld = "tun.too_many_held",
    EchoRefused = "tun.echo_refused",
    UnsupportedRefused = "tun.unsupported_refused",
    /// The kernel's recursion guard asked for it.
    GuardRefused = "tun.guard_refused",
    Unanswerable = "tun.unanswerable_ignored",
    Unreadable = "tun.unreadable_ignored",
    /// The TUN's queue was full or the packet was bad.
    WriteFailed = "tun.write_failed",
    Admitted = "flow.admitted",
    Refused = "flow.refused",
    /// Refused by silence: the far end did not answer either.
    Silent = "flow.refused_silently",
    /// Neither admitted nor refused in time.
    HeldTooLong = "flow.held_too_long",
    /// Admitted, but the app had gone.
    AppGone = "flow.app_gone",
    /// A connection nobody had admitted: reset.
    Unexpected = "flow.unexpected_reset",
    UdpExpired = "flow.udp_idle",
    UdpFull = "flow.udp_too_many",
    /// The same addresses and ports once through a VIP and once directly.
    NatConflict = "flow.vip_conflict",

    // The userspace dataplane; where the kernel programs count the same, under their name.
    SynHeld = "from_app.syn_held",
    UdpHeld = "from_app.udp_held",
    NodeSideRefused = "from_app.node_side_refused",
    RecursionRefused = "from_app.recursion_refused",
    /// Of a TCP connection that nobody knows: answered with a reset, unless it is one.
    UnknownSegment = "tun.unknown_segment",
    /// TCP data that nobody has made room for: ignored, the app's kernel would not send it.
    BehindTheWindow = "tun.behind_the_window",
    /// Part of a datagram that is larger than the MTU.
    Fragment = "tun.fragment",
    /// About something that we have sent to an app.
    IcmpError = "tun.icmp_error",
    /// More datagrams than the tunnel takes.
    DatagramsUnread = "flow.datagrams_unread",
}

pub(super) struct Counts([AtomicU64; NAMES.len()]);

impl Counts {
    pub(super) fn new() -> Self {
        Self([const { AtomicU64::new(0) }; NAMES.len()])
    }

    pub(super) fn up(&self, count: Count) {
        if let Some(counter) = self.0.get(count as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// By name; what never came is left out.
    pub(super) fn moved(&self) -> Vec<(&'static str, u64)> {
        let all = NAMES.iter().zip(&self.0).map(|(name, counter)| (*name, counter.load(Ordering::Relaxed)));
        all.filter(|(_, number)| *number > 0).collect()
    }
}
