//! Every exit of every kernel program, its name, and what it means for the packet.

/// What the entry point tells the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Go on as if there were no program: from the app's side that is the TUN's file, so the daemon.
    Pass,
    /// Into the private namespace.
    Cross,
    /// Back to the app, as if received on the TUN.
    ToApp,
    Drop,
}

macro_rules! outcomes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal => $verdict:ident,)+) => {
        /// The value is the index of its counter.
        #[repr(u32)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Outcome { $($(#[$doc])* $variant,)+ }

        impl Outcome {
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// `program.exit`, as counters and `tp maps dump` show it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            #[inline(always)]
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$variant => Verdict::$verdict,)+ }
            }
        }
    };
}

outcomes! {
    // from_app: the TUN's egress
    /// A SYN waits for the far end's answer.
    AppSynHeld = "from_app.syn_held" => Pass,
    /// The first datagram of a flow waits for the daemon.
    AppUdpHeld = "from_app.udp_held" => Pass,
    AppTcp = "from_app.tcp_crossed" => Cross,
    AppTcpVip = "from_app.tcp_vip_crossed" => Cross,
    AppUdp = "from_app.udp_crossed" => Cross,
    AppUdpVip = "from_app.udp_vip_crossed" => Cross,
    /// A later fragment: it has no ports, the private namespace puts it together.
    AppFragment = "from_app.fragment_crossed" => Cross,
    AppFragmentVip = "from_app.fragment_vip_crossed" => Cross,
    /// For the DNS address, any protocol.
    AppDns = "from_app.dns_crossed" => Cross,
    /// "Port unreachable" or "packet too big" for a socket of the private namespace.
    AppIcmpError = "from_app.icmp_error_crossed" => Cross,
    /// The same about a flow through a VIP: what it quotes is rewritten too.
    AppIcmpErrorVip = "from_app.icmp_error_vip_crossed" => Cross,
    /// ICMP queries: the daemon answers.
    AppIcmp = "from_app.icmp_to_daemon" => Pass,
    /// Neither TCP, UDP nor ICMP: the daemon answers.
    AppOther = "from_app.other_to_daemon" => Pass,
    /// A forwarded SYN from the cluster's own nodes: RST.
    AppNodeSide = "from_app.node_side_refused" => ToApp,
    /// A second flow to an IP:PORT that is closed by a first one: RST.
    AppRecursion = "from_app.recursion_refused" => ToApp,
    /// Refused as the two above, but no plain SYN (a datagram, a SYN with data): the daemon answers.
    AppNodeSideToDaemon = "from_app.node_side_to_daemon" => Pass,
    AppRecursionToDaemon = "from_app.recursion_to_daemon" => Pass,
    /// mDNS, SSDP, MLD: nothing in the cluster listens.
    AppMulticast = "from_app.multicast_dropped" => Drop,
    AppUnreadable = "from_app.unreadable_to_daemon" => Pass,
    AppCrossFailed = "from_app.cross_failed" => Drop,
    AppRewriteFailed = "from_app.rewrite_failed" => Drop,

    // from_daemon: the TUN's ingress
    /// Came from the private namespace through this door.
    DaemonReply = "from_daemon.reply_passed" => Pass,
    /// RST or ICMP the daemon wrote.
    DaemonAnswer = "from_daemon.answer_passed" => Pass,
    DaemonSyn = "from_daemon.syn_crossed" => Cross,
    DaemonSynVip = "from_daemon.syn_vip_crossed" => Cross,
    DaemonUdp = "from_daemon.udp_crossed" => Cross,
    DaemonUdpVip = "from_daemon.udp_vip_crossed" => Cross,
    DaemonUnreadable = "from_daemon.unreadable_dropped" => Drop,
    DaemonCrossFailed = "from_daemon.cross_failed" => Drop,
    DaemonRewriteFailed = "from_daemon.rewrite_failed" => Drop,

    // from_listener: the pair's host end, ingress
    ListenerTcp = "from_listener.tcp" => ToApp,
    ListenerTcpVip = "from_listener.tcp_vip" => ToApp,
    ListenerUdp = "from_listener.udp" => ToApp,
    ListenerUdpVip = "from_listener.udp_vip" => ToApp,
    ListenerFragment = "from_listener.fragment" => ToApp,
    ListenerFragmentVip = "from_listener.fragment_vip" => ToApp,
    /// ICMP errors of the private namespace's stack.
    ListenerIcmpError = "from_listener.icmp_error" => ToApp,
    ListenerIcmpErrorVip = "from_listener.icmp_error_vip" => ToApp,
    /// The rest of its ICMP, answers to a ping of the DNS address among others.
    ListenerOther = "from_listener.other" => ToApp,
    /// The namespace's own IPv6 chatter (MLD, router solicitation) must not reach the host.
    ListenerNoise = "from_listener.noise_dropped" => Drop,
    ListenerUnreadable = "from_listener.unreadable_dropped" => Drop,
    ListenerRewriteFailed = "from_listener.rewrite_failed" => Drop,

    // pick_listener: sk_lookup in the private namespace
    PickListener = "pick_listener.assigned" => Pass,
    PickDns = "pick_listener.dns" => Pass,
    PickUdp = "pick_listener.udp" => Pass,
    PickNobody = "pick_listener.no_listener" => Pass,

    // dns: the cgroup hooks
    DnsRedirected = "dns.redirected" => Pass,
    DnsRestored = "dns.restored" => Pass,
    /// Not port 53, or a reply that is not ours.
    DnsOther = "dns.other" => Pass,
    DnsOtherNamespace = "dns.other_namespace" => Pass,
    DnsOwnSocket = "dns.own_socket" => Pass,
    /// Must leave by a device of its own.
    DnsTiedSocket = "dns.tied_socket" => Pass,
    DnsIdentified = "dns.identified" => Pass,
    /// Port 53 of a family in which we have no address.
    DnsNoAddress = "dns.no_address" => Pass,
}

impl Outcome {
    #[expect(clippy::cast_possible_truncation, reason = "there are dozens of them")]
    pub const COUNT: u32 = Self::ALL.len() as u32;
}
