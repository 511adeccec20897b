#!/bin/bash
# The demo: a cluster that is no Kubernetes (a standalone manager and an echo server) in one network namespace, a workstation
# in another; a program on the workstation reaches the echo server by name. Nothing outside of these namespaces is touched.
#   demo.sh DIRECTORY-OF-PROGRAMS [--keep]
set -euo pipefail
bin=$(readlink -f "$1"); keep=${2:-}
cluster=tp-demo-cluster workstation=tp-demo-workstation
dir=$(mktemp -d /tmp/tp-demo.XXXXXX)
pids=()

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

clean_up() {
    [ -z "${holder:-}" ] || on_workstation "$bin/tp" quit >/dev/null 2>&1 || true
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    for name in $cluster $workstation; do ip netns del $name 2>/dev/null || true; done
    rm -rf "$dir"
}
trap clean_up EXIT

if [ -e /run/netns/$workstation ]; then
    echo "error: a demo is already up (network namespace $workstation exists)" >&2
    echo >&2
    echo "hint: end it with: ip netns del $workstation; ip netns del $cluster" >&2
    trap - EXIT; rm -rf "$dir"; exit 1
fi

say "Two network namespaces: $cluster and $workstation"
ip netns add $cluster; ip netns add $workstation
ip -n $cluster link set lo up; ip -n $workstation link set lo up
ip -n $workstation link add eth0 type veth peer name eth0 netns $cluster
ip -n $cluster addr add 192.0.2.1/24 dev eth0; ip -n $cluster link set eth0 up
ip -n $workstation addr add 192.0.2.2/24 dev eth0; ip -n $workstation link set eth0 up
ip -n $cluster addr add 10.96.0.10/32 dev lo      # the service: the workstation has no route to it

say "In the cluster: an echo server at 10.96.0.10, and the standalone manager"
nsenter --net=/run/netns/$cluster "$bin/tp-probe" serve echo 10.96.0.10 >"$dir/echo.log" 2>&1 & pids+=($!)
nsenter --net=/run/netns/$cluster "$bin/tp-traffic" manager --standalone --listen 192.0.2.1:7900 --subnet 10.96.0.0/16 \
    --host echo.default.svc.cluster.local=10.96.0.10 --state-dir "$dir/manager" --join-file "$dir/join" \
    >"$dir/manager.log" 2>&1 & pids+=($!)
for _ in $(seq 100); do [ -s "$dir/join" ] && break; sleep 0.1; done
[ -s "$dir/join" ] || { cat "$dir/manager.log" >&2; exit 1; }

# The workstation: a mount namespace too, with resolver files of its own and the machine's name service out of sight.
: >"$dir/resolv.conf"; printf 'hosts: files dns\n' >"$dir/nsswitch.conf"; printf '127.0.0.1 localhost\n' >"$dir/hosts"
nsenter --net=/run/netns/$workstation unshare --mount --propagation private sh -c '
    for d in /run/dbus /run/systemd; do [ -d $d ] && mount -t tmpfs none $d; done
    f=$(readlink -m /etc/resolv.conf); mkdir -p "$(dirname "$f")"; [ -e "$f" ] || : >"$f"
    mount --bind "$1/resolv.conf" "$f"; mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf; mount --bind "$1/hosts" /etc/hosts
    : >"$1/ready"; exec sleep infinity >/dev/null 2>&1' hold "$dir" >"$dir/holder.log" 2>&1 & holder=$!; pids+=("$holder")
for _ in $(seq 100); do [ -e "$dir/ready" ] && break; sleep 0.1; done
on_workstation() { nsenter --net=/run/netns/$workstation --mount=/proc/"$holder"/ns/mnt -- env HOME="$dir" "$@"; }
shown() { printf '\n\033[1mworkstation#\033[0m %s\n' "${*//$bin\//}"; on_workstation "$@"; }

say "On the workstation, before: no way to the service"
shown curl --silent --show-error --max-time 2 http://echo || true

shown "$bin/tp" connect --manager "$(cat "$dir/join")"
shown curl --silent --show-error --max-time 10 http://echo
shown curl --silent --show-error --max-time 10 http://echo.default.svc.cluster.local:8080
shown "$bin/tp-probe" udp echo:7777 1000 3
shown curl --silent --show-error --max-time 10 http://echo:9 || true
shown "$bin/tp" status
shown "$bin/tp" maps dump

if [ "$keep" = --keep ]; then
    trap - EXIT
    say "Left up to play with"
    echo "a shell on the workstation:  nsenter --net=/run/netns/$workstation --mount=/proc/$holder/ns/mnt bash"
    echo "there:                       PATH=$bin:\$PATH; tp status; curl http://echo"
    echo "to end it:                   nsenter --net=/run/netns/$workstation $bin/tp quit; kill ${pids[*]}; ip netns del $workstation; ip netns del $cluster; rm -r $dir"
    exit 0
fi

shown "$bin/tp" quit
say "Afterwards: the workstation as it was"
shown ip route
echo; echo "The demo worked. With --keep it stays up to play with."
