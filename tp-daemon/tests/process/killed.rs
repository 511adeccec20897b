//! SIGKILL: nothing of the dataplane outlives its process but, while a connection is stuck, the inert pair; that one
//! is the janitor's, and does not hinder the next start.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Child;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tp_daemon::dataplane::{Dataplane, PAIR_HOST, Reach, TUN_NAME, setup};

use crate::far_end::{self, ECHO, Events, GREET};
use crate::{child, options, output};

pub(crate) const ROLE: &str = "serve";

/// The child: a dataplane that serves until it is killed.
pub(crate) fn serve() {
    let prepared = setup(&options()).unwrap_or_else(|error| panic!("{error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let dataplane = prepared.start().unwrap();
        dataplane
            .set_reach(&Reach::networks(&["10.96.0.0/16".parse().unwrap(), "fd96::/16".parse().unwrap()]))
            .await
            .unwrap();
        dataplane.attach_dns_hooks().unwrap();
        println!("ready");
        far_end::serve(dataplane, Arc::new(Events::default())).await;
    });
}

pub(crate) fn test() {
    // what an earlier test's daemon left goes with its namespace, a moment after it
    eventually("the host is fresh", || !host().contains(PAIR_HOST));
    let before = host();
    let mut daemon = start();
    let during = host();
    assert!(
        during.contains(TUN_NAME) && during.contains(PAIR_HOST) && during.contains("10.96.0.0/16"),
        "{during}"
    );
    kill(&mut daemon);
    eventually("everything is as before", || host() == before);
    port_53_is_the_hosts_again();

    // The end of a connection that cannot be delivered keeps the private namespace, and with it the pair, for a while.
    let mut daemon = start();
    let mut unread = TcpStream::connect(("10.96.0.1", GREET)).unwrap();
    let mut open = TcpStream::connect(("10.96.0.1", ECHO)).unwrap();
    echoes(&mut open);
    kill(&mut daemon);
    eventually("the TUN and its routes are gone", || {
        let now = host();
        !now.contains(TUN_NAME) && !now.contains("10.96.0.0/16")
    });
    let mut daemon = start();
    echoes(&mut TcpStream::connect(("10.96.0.1", ECHO)).unwrap());
    kill(&mut daemon);
    output(&format!("ip link del {PAIR_HOST} 2> /dev/null || true")); // as the janitor does
    eventually(&format!("everything is as before again, that is\n{before}\nbut now"), || host() == before);
    let _ = unread.read(&mut [0; 1]); // whatever it says, it was open until here
}

fn echoes(stream: &mut TcpStream) {
    stream.write_all(b"y").unwrap();
    stream.read_exact(&mut [0; 1]).unwrap();
}

fn start() -> Child {
    let mut daemon = child(ROLE);
    let mut line = String::new();
    BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    daemon
}

fn kill(daemon: &mut Child) {
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

fn port_53_is_the_hosts_again() {
    let listener = TcpListener::bind("127.0.0.1:53").unwrap();
    TcpStream::connect("127.0.0.1:53").unwrap().write_all(b"x").unwrap();
    listener.accept().unwrap().0.read_exact(&mut [0; 1]).unwrap();
}

/// What could be left of us in the network namespace.
fn host() -> String {
    output(
        "ip -br link | cut -d' ' -f1; ip addr show lo; ip rule; ip -6 rule
         ip route show table all | sort; ip -6 route show table all | sort",
    )
}

fn eventually(what: &str, mut true_now: impl FnMut() -> bool) {
    for _ in 0..200 {
        if true_now() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("never happened: {what}\n{}", host());
}
