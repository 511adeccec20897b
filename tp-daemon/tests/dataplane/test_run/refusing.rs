//! The guard's answer, made of the very SYN it refuses.

use std::net::SocketAddr;

use nix::sys::time::TimeValLike;
use tp_common::Addr;
use tp_common::recursion::{HELD, MAX_HELD_NS};

use super::{ETHERNET, Programs, families};
use crate::frames::{SYN, checksums_are_right, tcp};

#[test]
fn the_guard_turns_a_syn_into_the_rst_that_refuses_it() {
    let programs = Programs::with_block();
    for (app, cluster, _) in families() {
        let options = [2, 4, 5, 180, 1, 1, 4, 2, 1, 3, 3, 7];
        assert_eq!(programs.run("from_app", &tcp(app, cluster, SYN, &options, &[])).0, "from_app.syn_held");
        let second = SocketAddr::new(app.ip(), 4001);
        for options in [&[][..], &options, &[1; 40]] {
            let (exit, frame) = programs.run("from_app", &tcp(second, cluster, SYN, options, &[]));
            assert_eq!(exit, "from_app.recursion_refused");
            let rst = &frame[ETHERNET..];
            assert!(checksums_are_right(rst), "{rst:02x?}");
            // Acknowledges the SYN (sequence number 99), from where it went to where it came from.
            let mut expected = tcp(cluster, second, 0x14, &[], &[]);
            let transport = if app.is_ipv4() { 20 } else { 40 };
            assert_eq!(rst[transport..transport + 4], expected[transport..transport + 4], "ports");
            assert_eq!(rst[transport + 4..transport + 14], [0, 0, 0, 0, 0, 0, 0, 100, 0x50, 0x14]);
            assert_eq!(rst[transport - 8..transport], expected.split_off(transport - 8)[..8], "addresses");
        }
        let with_data = tcp(second, cluster, SYN, &[], b"early");
        let (exit, frame) = programs.run("from_app", &with_data);
        assert_eq!(exit, "from_app.recursion_to_daemon");
        assert_eq!(
            frame[ETHERNET + if app.is_ipv4() { 8 } else { 7 }],
            0,
            "asks the daemon by the hop limit"
        );
    }
}

/// Whoever wrote the entry, the program goes by its expiry and its flow.
#[test]
fn the_guard_goes_by_what_its_map_says() {
    let mut programs = Programs::with_block();
    let far = u64::MAX / 2;
    for (app, cluster, _) in families() {
        let second = SocketAddr::new(app.ip(), 4001);
        let cases = [
            ("nobody has asked", None, "from_app.syn_held"),
            ("its own entry", Some((app, far)), "from_app.syn_held"),
            ("another flow's", Some((second, far)), "from_app.recursion_refused"),
            ("another flow's, run out", Some((second, 1)), "from_app.syn_held"),
        ];
        for (what, entry, exit) in cases {
            programs.closed_by(cluster, entry);
            assert_eq!(programs.run("from_app", &tcp(app, cluster, SYN, &[], &[])).0, exit, "{what}");
            let holder = programs.closed(cluster).unwrap();
            let refused = exit.ends_with("refused");
            assert_eq!(holder.app, Addr::from(app.ip()), "{what}");
            assert_eq!(holder.app_port, if refused { 4001 } else { 4000 }, "{what}");
        }
        // A held flow closes its address for no longer than it may be held.
        programs.closed_by(cluster, None);
        programs.run("from_app", &tcp(app, cluster, SYN, &[], &[]));
        let holder = programs.closed(cluster).unwrap();
        assert_eq!(holder.state, HELD);
        let uptime = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
        assert!(holder.expiry_ns <= u64::try_from(uptime.num_nanoseconds()).unwrap() + MAX_HELD_NS);
    }
}
