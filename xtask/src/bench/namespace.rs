//! Network namespaces of a run. Each goes with its processes when this process ends, in whatever way.
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::place::Place;
use crate::sh;

/// Makes the namespace, and in it a mount namespace with resolver files of its own, the machine's name service out of sight.
/// Then it waits until its standard input closes, and ends all that still runs in the namespace. An interrupt from the
/// keyboard reaches it too, and must not end it before.
const HOLD: &str = r#"
trap '' INT TERM HUP
ip netns add "$1" && ip -n "$1" link set lo up || exit 1
# thousands of connections a second would else run out of ports
nsenter --net="/run/netns/$1" sysctl -qw net.ipv4.tcp_tw_reuse=1
nsenter --net="/run/netns/$1" unshare --mount --propagation private sh -c '
    for d in /run/dbus /run/systemd /run/nscd /var/run/nscd; do [ -d "$d" ] && mount -t tmpfs none "$d"; done
    f=$(readlink -m /etc/resolv.conf); mkdir -p "$(dirname "$f")"; [ -e "$f" ] || : >"$f"
    mount --bind "$1/resolv.conf" "$f" && mount --bind "$1/hosts" /etc/hosts &&
        mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf || exit 1
    : >"$1/ready"; exec sleep infinity' hold "$2" </dev/null >/dev/null &
holder=$!
while [ ! -e "$2/ready" ]; do kill -0 $holder || break; sleep 0.01; done
[ -e "$2/ready" ] && echo $holder && read -r _
left() { ip netns pids "$1" | grep -vx $holder; }
pids=$(left "$1") && kill $pids
for _ in $(seq 40); do pids=$(left "$1") || break; sleep 0.05; done
kill -KILL $pids $holder
ip netns del "$1"
"#;

#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
    dir: PathBuf,
    /// What keeps the mount namespace.
    holder: u32,
    script: Child,
    /// Closed to end it.
    alive: Option<ChildStdin>,
}

impl Namespace {
    /// `dir` is for its files.
    pub(crate) fn new(role: &str, dir: &Path, name_server: &str) -> Result<Self> {
        let name = format!("tpx-{}-{role}", std::process::id());
        let dir = dir.join(role);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("resolv.conf"), format!("nameserver {name_server}\n"))?;
        fs::write(dir.join("hosts"), "127.0.0.1 localhost\n::1 localhost\n")?;
        fs::write(dir.join("nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files dns\n")?;
        let mut command = Command::new("sh");
        command.args(["-c", HOLD, "hold", &name]).arg(&dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut script = command.spawn().context("cannot make a network namespace")?;
        let (alive, out) = (script.stdin.take(), script.stdout.take().context("standard output is piped")?);
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let holder = line.trim().parse().unwrap_or(0);
        let namespace = Self { name, dir, holder, script, alive };
        ensure!(holder != 0, "cannot make the network namespace {}", namespace.name);
        Ok(namespace)
    }

    pub(crate) fn place(&self) -> Place {
        let entry = ["nsenter".into(), format!("--net={}", self.path().display())];
        let mounts = [format!("--mount=/proc/{}/ns/mnt", self.holder), "--".into()];
        Place::new(entry.into_iter().chain(mounts).collect()).env("HOME", &self.dir)
    }

    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// The namespace's name, as `ip netns` shows it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A veth pair to the namespace called `node`. The workstation is number `n`, and reaches `far` through it.
    pub(crate) fn wire(&self, n: usize, node: &str, network: &str, far: &str) -> Result<()> {
        let (here, there) = (format!("{network}.{}", 4 * n + 2), format!("{network}.{}", 4 * n + 1));
        let name = &self.name;
        for line in [
            format!("-n {name} link add eth0 type veth peer name ws{n} netns {node}"),
            format!("-n {name} addr add {here}/30 dev eth0"),
            format!("-n {node} addr add {there}/30 dev ws{n}"),
            format!("-n {name} link set eth0 up"),
            format!("-n {node} link set ws{n} up"),
            format!("-n {name} route add {far} via {there}"),
        ] {
            sh::read(&mut sh::cmd(&format!("ip {line}")))?;
        }
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.alive.take());
        let _ = self.script.wait();
    }
}
