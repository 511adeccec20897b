#!/bin/bash
# Start the cluster:  up.sh [full|control]     (control: only etcd + kube-apiserver, in the same topology)
#   PROXY_MODE=nftables|iptables (default nftables)   DEMO=0: no demo workloads   APISERVER_EXTRA="--flag ..."
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd); . "$HERE/env.sh"
MODE=${1:-full}; PROXY_MODE=${PROXY_MODE:-nftables}
T0=$(date +%s.%N); say() { printf '[up %5.1f s] %s\n' "$(awk "BEGIN{print $(date +%s.%N)-$T0}")" "$*" >&2; }
[ -x "$BIN/kube-apiserver" ] || { echo "run build.sh first" >&2; exit 1; }
if [ -s "$RUN/node.pid" ] && kill -0 "$(cat "$RUN/node.pid")" 2>/dev/null; then echo "already up (down.sh first)" >&2; exit 1; fi
"$HERE/down.sh" >/dev/null 2>&1 || true
mkdir -p "$RUN" "$LOG"
trap 'say "failed at line $LINENO; logs: $LOG; clean up with down.sh"' ERR
"$HERE/pki.sh"

# -- network: node <-> laptop, nothing else; no default route anywhere ------------------------------
ip netns add "$NODE_NS"; ip netns add "$USER_NS"
ip -n "$NODE_NS" link add lan0 type veth peer name eth0 netns "$USER_NS"
ip -n "$NODE_NS" addr add "$NODE_IP/24" dev lan0; ip -n "$NODE_NS" link set lan0 up; ip -n "$NODE_NS" link set lo up
ip -n "$USER_NS" addr add "$USER_IP/24" dev eth0; ip -n "$USER_NS" link set eth0 up; ip -n "$USER_NS" link set lo up
# a real node has a default route; without any, a process on the node (the API server calling a webhook)
# could not even address a service, because routing comes before kube-proxy's DNAT
ip -n "$NODE_NS" route add "$SVC_CIDR" dev lan0 src "$NODE_IP"
# the laptop must not reach pods or services even if a test gives it a route there by mistake
nsenter --net="/run/netns/$NODE_NS" nft -f - <<F
table inet lab {
  chain wall {
    type filter hook prerouting priority -310
    iifname "lan0" ip daddr { $POD_CIDR, $SVC_CIDR } counter drop
  }
}
F

if [ "$MODE" = full ]; then
# -- cgroup: everything the kubelet makes lies under /tpk-node in every v1 hierarchy ----------------
for c in /sys/fs/cgroup/*/; do
  case $c in */unified/) continue;; esac
  mkdir -p "$c$NODE_NAME"
  if [ -e "$c/cpuset.cpus" ]; then cat "$c/cpuset.cpus" >"$c$NODE_NAME/cpuset.cpus"; cat "$c/cpuset.mems" >"$c$NODE_NAME/cpuset.mems"; fi
done
mkdir -p "$RUN/cni.d"
cat >"$RUN/cni.d/10-lab.conflist" <<C
{"cniVersion": "1.0.0", "name": "lab", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true, "promiscMode": false,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$NODE_POD_CIDR"}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
C
cat >"$RUN/containerd.toml" <<C
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "lab.local/pause:1"
  restrict_oom_score_adj = true      # no CAP_SYS_RESOURCE here
  disable_hugetlb_controller = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "$BIN/runc"
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$KL/cni"
    conf_dir = "$RUN/cni.d"
C
cat >"$RUN/kubelet.yaml" <<C
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /$NODE_NAME
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI/kubelet-serving.crt
tlsPrivateKeyFile: $PKI/kubelet-serving.key
address: $NODE_IP
clusterDNS: [$DNS_IP]
clusterDomain: cluster.local
resolvConf: $RUN/pod-resolv.conf
failSwapOn: false
oomScoreAdj: 0
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
volumePluginDir: /var/lib/kubelet/volumeplugins
serializeImagePulls: false
syncFrequency: 10s
C
echo "options ndots:1" >"$RUN/pod-resolv.conf"
cat >"$RUN/kube-proxy.yaml" <<C
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: $PROXY_MODE
bindAddress: $NODE_IP
clusterCIDR: $POD_CIDR
clientConnection: {kubeconfig: $PKI/kube-proxy.kubeconfig}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
oomScoreAdj: 0
metricsBindAddress: 127.0.0.1:10249
healthzBindAddress: 127.0.0.1:10256
C
fi

# -- the node ---------------------------------------------------------------------------------------
setsid nsenter --net="/run/netns/$NODE_NS" unshare --mount --uts --ipc --pid --fork --kill-child --mount-proc \
  "$HERE/node-init.sh" "$MODE" </dev/null >>"$LOG/unshare.log" 2>&1 &
echo $! >"$RUN/node.pid"
for i in $(seq 100); do p=$(ps -o pid= --ppid "$(cat "$RUN/node.pid")" | tr -d ' ') && [ -n "$p" ] && break; sleep 0.05; done
echo "$p" >"$RUN/init.pid"
say "node started (pid $(cat "$RUN/node.pid"), its init $p)"

K() { "$HERE/user" kubectl "$@"; }
until K get --raw /readyz >/dev/null 2>&1; do
  kill -0 "$(cat "$RUN/node.pid")" 2>/dev/null || { say "node died; see $LOG"; exit 1; }
  sleep 0.2
  [ "$(awk "BEGIN{print ($(date +%s.%N)-$T0 > 120)}")" = 1 ] && { say "kube-apiserver not ready in 120 s; see $LOG/kube-apiserver.log"; exit 1; }
done
say "kube-apiserver ready"
[ "$MODE" = full ] || { say "control plane only; KUBECONFIG=$KUBECONFIG_FILE"; exit 0; }
sed -e "s/@DNS_IP@/$DNS_IP/; s/@COREDNS@/v$COREDNS_VERSION/" "$HERE/manifests/coredns.yaml" | K apply -f - >/dev/null
[ "${DEMO:-1}" = 0 ] || K apply -f "$HERE/manifests/demo.yaml" >/dev/null
say "manifests applied"
until K get node "$NODE_NAME" >/dev/null 2>&1; do sleep 0.3; done
K wait --for=condition=Ready "node/$NODE_NAME" --timeout=90s >/dev/null; say "node Ready"
K -n kube-system rollout status deploy/coredns --timeout=120s >/dev/null; say "CoreDNS Ready"
if [ "${DEMO:-1}" != 0 ]; then
  K rollout status deploy/echo --timeout=120s >/dev/null
  K rollout status statefulset/db --timeout=120s >/dev/null
  K -n blue rollout status deploy/echo --timeout=120s >/dev/null; say "demo workloads Ready"
fi
say "up; KUBECONFIG=$KUBECONFIG_FILE (use: $HERE/user kubectl get pods -A)"
