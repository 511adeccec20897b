//! A way to an app that is narrower than either end: the kernels must learn of it, through a VIP as well.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::far_end::{ECHO, GREET, GREETING};
use crate::forwarded::Machine;
use crate::site::{V4, V6, at, sh, site};
use crate::udp;
use crate::vip::{VIP_V4, VIP_V6, set_usual_vips};

/// What has been learnt of a machine holds for all that follows, so every case has a workstation of its own.
fn is_learnt_of(ip: &'static str, exit: &'static str) {
    site(move |site| {
        set_usual_vips(site);
        let machine = Machine::behind_bridge(site);
        // The machine believes in 1500 bytes, and the workstation forwards 1300.
        sh("ip route add 172.30.0.2/32 dev br0 mtu 1300; ip -6 route add fd30:0::2/128 dev br0 mtu 1300");
        machine.run(|| {
            let mut stream = TcpStream::connect(at(ip, GREET)).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let mut greeting = Vec::new();
            stream.read_to_end(&mut greeting).unwrap();
            assert_eq!(greeting.len(), GREETING);
            stream.write_all(b"thanks").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        });
        assert!(site.counters().get(exit) > 0, "{:?}", site.counters());
        // Datagrams come in fragments from now on.
        machine.run(|| udp::echoes(&udp::connected(ip, ECHO), &[7; 1400]));
    });
}

#[test]
fn a_narrow_way_to_the_app_is_learnt_of() {
    is_learnt_of(V4, "from_app.icmp_error_crossed");
    is_learnt_of(V6, "from_app.icmp_error_crossed");
}

#[test]
fn a_narrow_way_to_the_app_is_learnt_of_through_a_vip() {
    is_learnt_of(VIP_V4, "from_app.icmp_error_vip_crossed");
    is_learnt_of(VIP_V6, "from_app.icmp_error_vip_crossed");
}
