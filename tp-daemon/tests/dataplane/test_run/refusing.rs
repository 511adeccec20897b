//! The guard's answer, made of the very SYN it refuses.

use std::net::SocketAddr;

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
