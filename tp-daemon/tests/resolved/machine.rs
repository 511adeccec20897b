//! A machine for one test: network and mount namespaces with D-Bus, systemd-resolved and a dataplane.

use std::net::IpAddr;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use nix::sched::{CloneFlags, unshare};
use tokio::runtime::Runtime;
use tp_core::dns::DnsConfig;
use tp_daemon::dataplane::{EbpfDataplane, Options, setup};
use tp_daemon::dns::{
    self, Answer, ClusterLookup, ClusterNames, DnsHandle, Looking, NoneLeft, Server, Translation,
};

use crate::packages::Programs;
use crate::upstream::Upstream;
use crate::{ECHO, OUTSIDE};

/// What programs find in resolv.conf.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResolvConf {
    /// resolved.
    Stub,
    /// The machine's server itself, although resolved runs.
    Foreign,
}

pub(crate) struct Machine {
    runtime: Runtime,
    dataplane: EbpfDataplane,
    prepared: Mutex<Option<dns::Prepared>>,
    upstream: Upstream,
    programs: Programs,
    resolved: Mutex<Option<Child>>,
    bus: Mutex<Child>,
}

/// Everything resolved and D-Bus look for, over what the machine has, in this mount namespace only.
const MOUNTS: &str = "
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/test /run/dbus /run/systemd/resolve /run/systemd/resolved.conf.d
cp /etc/passwd /etc/group /run/test
echo 'systemd-resolve:x:64000:64000::/:/usr/sbin/nologin' >> /run/test/passwd
echo 'systemd-resolve:x:64000:' >> /run/test/group
mount --bind /run/test/passwd /etc/passwd
mount --bind /run/test/group /etc/group
chown 64000:64000 /run/systemd/resolve
printf '[Resolve]\\nDNSSEC=no\\nLLMNR=no\\nMulticastDNS=no\\n' > /run/systemd/resolved.conf.d/test.conf
cat > /run/test/bus.conf <<'BUS'
<!DOCTYPE busconfig PUBLIC '-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN'
 'http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd'>
<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen>
<policy context='default'><allow user='*'/><allow own='*'/><allow send_destination='*' eavesdrop='true'/>
<allow receive_sender='*'/></policy></busconfig>
BUS
";

impl Machine {
    /// Runs a test on a machine of its own, or says why not.
    pub(crate) fn run(resolv_conf: ResolvConf, test: impl FnOnce(&Self) + Send + 'static) {
        assert!(nix::unistd::geteuid().is_root(), "needs root: sudo -E cargo test -p tp-daemon");
        let programs = match Programs::get() {
            Ok(programs) => programs,
            Err(reason) => {
                eprintln!("SKIPPED, systemd-resolved cannot be had here: {reason}");
                return;
            }
        };
        let inside = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
            test(&Self::start(resolv_conf, programs));
        });
        if let Err(panic) = inside.join() {
            std::panic::resume_unwind(panic);
        }
    }

    fn start(resolv_conf: ResolvConf, programs: Programs) -> Self {
        let server = match resolv_conf {
            ResolvConf::Stub => "127.0.0.53",
            ResolvConf::Foreign => "192.0.2.53",
        };
        sh(MOUNTS);
        sh(&format!(
            "echo nameserver {server} > /run/test/resolv.conf
            mount --bind /run/test/resolv.conf /etc/resolv.conf; ip link set lo up"
        ));
        let upstream = Upstream::start();
        let bus = Command::new("dbus-daemon")
            .args(["--config-file=/run/test/bus.conf", "--nofork"])
            .spawn()
            .unwrap();
        let options = Options {
            tun_v4: "198.18.84.113/30".parse().unwrap(),
            dns_v4: "198.18.84.114".parse().unwrap(),
            v6: Some(("fd74:7074::1/126".parse().unwrap(), "fd74:7074::2".parse().unwrap())),
            udp: tp_core::udp_flows::Limits::default(),
            kernel_log_level: 0,
        };
        let dataplane = setup(&options).unwrap_or_else(|error| panic!("{error}"));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let dataplane = runtime.block_on(async { dataplane.start().unwrap() });
        let machine = Self {
            runtime,
            dataplane,
            prepared: Mutex::default(),
            upstream,
            programs,
            resolved: Mutex::default(),
            bus: Mutex::new(bus),
        };
        machine
            .eventually("the bus listens", || std::path::Path::new("/run/dbus/system_bus_socket").exists());
        *machine.prepared.lock().unwrap() = Some(dns::prepare());
        machine.start_resolved();
        machine
    }

    /// With the machine's own server at the link that leads there, as a network manager does it.
    fn start_resolved(&self) {
        let resolved = Command::new(self.programs.daemon())
            .env("LD_LIBRARY_PATH", self.programs.libraries())
            .env("SYSTEMD_LOG_LEVEL", std::env::var("RESOLVED_LOG").unwrap_or("warning".to_owned()))
            .spawn()
            .unwrap();
        *self.resolved.lock().unwrap() = Some(resolved);
        self.eventually("resolved runs", || self.try_resolvectl(&["dns", "up0", "192.0.2.53"]).0);
        self.resolvectl(&["domain", "up0", "~."]);
        self.eventually("resolved resolves", || self.query("www.example.com") == OUTSIDE.to_string());
    }

    pub(crate) fn stop_resolved(&self) {
        if let Some(mut resolved) = self.resolved.lock().unwrap().take() {
            resolved.kill().unwrap();
            resolved.wait().unwrap();
        }
    }

    pub(crate) fn restart_resolved(&self) {
        self.stop_resolved();
        self.start_resolved();
    }

    pub(crate) fn connect(&self) -> DnsHandle {
        let prepared = self.prepared.lock().unwrap().take().expect("once per machine");
        let names = ClusterNames { lookup: Arc::new(Cluster), translation: Arc::new(Plain) };
        let started = Server::start(prepared, self.dataplane.clone(), names, config());
        self.runtime.block_on(started).unwrap_or_else(|error| panic!("{error:#}"))
    }

    pub(crate) fn update(&self, server: &DnsHandle, config: DnsConfig) {
        self.runtime.block_on(server.updater().update(config));
    }

    pub(crate) fn stop(&self, server: DnsHandle) {
        self.runtime.block_on(server.stop());
    }

    pub(crate) fn upstream_heard(&self) -> Vec<String> {
        self.upstream.heard()
    }

    /// What resolved says: the address or name, or its complaint.
    pub(crate) fn query(&self, name: &str) -> String {
        let (found, text) = self.try_resolvectl(&["query", "--cache=no", "-4", name]);
        let Some(answer) = text.lines().next().filter(|_| found) else { return text };
        answer
            .split_once(": ")
            .unwrap_or(("", answer))
            .1
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    pub(crate) fn resolvectl(&self, words: &[&str]) -> String {
        let (done, text) = self.try_resolvectl(words);
        assert!(done, "resolvectl {words:?}: {text}");
        text
    }

    pub(crate) fn dig(&self, words: &[&str]) -> String {
        output(Command::new("dig").args(["+short", "+tries=1", "+time=5"]).args(words)).1
    }

    /// The C library's resolver.
    pub(crate) fn getent(&self, name: &str) -> String {
        let text = output(Command::new("getent").args(["ahostsv4", name])).1;
        text.split_whitespace().next().unwrap_or_default().to_owned()
    }

    pub(crate) fn eventually(&self, what: &str, mut true_now: impl FnMut() -> bool) {
        for _ in 0..200 {
            if true_now() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("never happened: {what}");
    }

    fn try_resolvectl(&self, words: &[&str]) -> (bool, String) {
        output(
            Command::new(self.programs.resolvectl())
                .args(words)
                .env("LD_LIBRARY_PATH", self.programs.libraries())
                .env("SYSTEMD_COLORS", "0"),
        )
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop_resolved();
        let mut bus = self.bus.lock().unwrap();
        let _ = bus.kill();
        let _ = bus.wait();
    }
}

pub(crate) fn config() -> DnsConfig {
    DnsConfig {
        cluster_domain: "cluster.local".to_owned(),
        namespace: "default".to_owned(),
        namespaces: vec!["default".to_owned(), "blue".to_owned()],
        subnets: vec!["10.96.0.0/12".parse().unwrap()],
        ..DnsConfig::default()
    }
}

struct Cluster;

/// No address is hidden.
struct Plain;

impl Translation for Plain {
    fn to_app(&self, _: IpAddr) -> Result<Option<IpAddr>, NoneLeft> {
        Ok(None)
    }

    fn to_cluster(&self, _: IpAddr) -> Option<IpAddr> {
        None
    }
}

impl ClusterLookup for Cluster {
    fn lookup(&self, name: &str, rtype: u16) -> Looking {
        let records = match (name, rtype) {
            ("7.0.96.10.in-addr.arpa.", 12) => {
                Some(record(name, 12, &wire("echo.default.svc.cluster.local.")))
            }
            (_, 1) if name.starts_with("echo.") && !name.contains("example") => {
                Some(record(name, 1, &ECHO.octets()))
            }
            (_, _) if name.starts_with("echo.") => Some(Bytes::new()),
            _ => None,
        };
        Box::pin(async move {
            Ok(Answer { rcode: if records.is_some() { 0 } else { 3 }, records: records.unwrap_or_default() })
        })
    }
}

fn record(name: &str, rtype: u8, data: &[u8]) -> Bytes {
    let len = u8::try_from(data.len()).unwrap();
    [&wire(name)[..], &[0, rtype, 0, 1, 0, 0, 0, 4, 0, len], data].concat().into()
}

fn wire(name: &str) -> Vec<u8> {
    name.split('.')
        .flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat())
        .collect()
}

fn output(command: &mut Command) -> (bool, String) {
    let done = command.output().unwrap();
    let text = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8_lossy(&text).trim().to_owned())
}

pub(crate) fn sh(command: &str) {
    let status = Command::new("sh").arg("-ec").arg(command).status().unwrap();
    assert!(status.success(), "{command}: {status}");
}
