#!/bin/bash
# Stop the cluster: ends the node's process 1 (and with it everything in its pid namespace, and every
# mount of its mount namespace), removes both network namespaces, its cgroups and its state.
set -u
HERE=$(cd "$(dirname "$0")" && pwd); . "$HERE/env.sh"
if [ -s "$RUN/node.pid" ]; then
  p=$(cat "$RUN/node.pid")
  if [ "$(tr '\0' ' ' <"/proc/$p/cmdline" 2>/dev/null | grep -c node-init.sh)" = 1 ]; then
    kill -KILL "$p"                                  # unshare --kill-child: its child, the init, dies too
    for i in $(seq 100); do [ -e "/proc/$(cat "$RUN/init.pid" 2>/dev/null || echo none)" ] || break; sleep 0.05; done
  fi
fi
for n in "$NODE_NS" "$USER_NS"; do [ -e "/run/netns/$n" ] && ip netns del "$n"; done
for c in /sys/fs/cgroup/*/"$NODE_NAME"; do [ -d "$c" ] && find "$c" -depth -type d -exec rmdir {} + 2>/dev/null; done
mkdir -p "$RUN"
[ -d "$LOG" ] && { rm -rf "$KL/last-log-$LAB"; mv "$LOG" "$KL/last-log-$LAB"; }
rm -rf "$RUN"
# removing a mount point detaches what other labs have mounted there in namespaces of their own: the last one does it
compgen -G "$KL/run/*/node.pid" >/dev/null || rmdir /var/lib/kubelet /var/lib/containerd /var/lib/cni 2>/dev/null
echo "down (logs of that run: $KL/last-log-$LAB)"
