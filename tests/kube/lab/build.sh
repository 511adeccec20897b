#!/bin/bash
# Build or install every program of the kube lab into $KL/bin. Idempotent: a program that is there
# with the wanted version stamp is skipped.
#   build.sh            everything
#   build.sh minimal    only etcd + kube-apiserver + kubectl      build.sh api    the same without kubectl
#   FORCE=1 build.sh    rebuild
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd); . "$HERE/env.sh"
WHAT=${1:-all}
JOBS=${JOBS:-2}
export GOCACHE=${KL_GOCACHE:-$KL/gocache} GOFLAGS="-buildvcs=false" CGO_ENABLED=0
NICE="nice -n 15"
mkdir -p "$BIN" "$KL/src" "$KL/stamps"
TIMES=$KL/build-times.tsv; [ -f "$TIMES" ] || printf 'when\tname\tseconds\tbytes\n' >"$TIMES"

note() { echo "[build] $*" >&2; }

# timed NAME STAMP OUTFILE command... : run command unless OUTFILE exists with stamp STAMP
timed() {
  local name=$1 stamp=$2 out=$3; shift 3
  if [ -z "${FORCE:-}" ] && [ -e "$out" ] && [ "$(cat "$KL/stamps/$name" 2>/dev/null)" = "$stamp" ]; then
    note "$name: up to date ($stamp)"; return 0
  fi
  local t0 t1; t0=$(date +%s.%N)
  "$@"
  t1=$(date +%s.%N)
  echo "$stamp" >"$KL/stamps/$name"
  printf '%s\t%s\t%.1f\t%s\n' "$(date -u +%FT%TZ)" "$name" "$(echo "$t1 - $t0" | bc -l 2>/dev/null || awk "BEGIN{print $t1-$t0}")" "$(stat -c %s "$out")" >>"$TIMES"
  note "$name: $(awk "BEGIN{printf \"%.1f\", $t1-$t0}") s, $(du -h "$out" | cut -f1)"
}

# ---- Kubernetes: our own go.mod, staging modules replaced with their published v0.X twins -------
K8S_SRC=$KL/src/k8s
k8s_mod() {
  mkdir -p "$K8S_SRC"; cd "$K8S_SRC"
  local mod minor=${K8S_VERSION#1.}; local stg=v0.$minor
  cat >go.mod <<M
module kubelab
go 1.24.0
godebug default=go1.24
M
  go mod download -json "k8s.io/kubernetes@v$K8S_VERSION" >dl.json
  mod=$(sed -n 's/.*"GoMod": "\(.*\)",/\1/p' dl.json)
  # keep upstream's pinned versions: copy its require blocks, resolve v0.0.0 to the staging version
  {
    echo "module kubelab"; echo
    grep -E '^go ' "$mod"; grep -E '^godebug ' "$mod" || true; echo
    awk '/^require \(/{p=1} p{print} /^\)/{p=0}' "$mod"
    echo; echo "require k8s.io/kubernetes v$K8S_VERSION"; echo
    echo "replace ("
    awk '$1 ~ /^k8s\.io\// && $2=="v0.0.0"{print $1}' "$mod" | while read -r m; do echo "	$m => $m $stg"; done
    echo ")"
  } >go.mod
  # no `go mod tidy`: it would also fetch the test dependencies; -mod=mod writes go.sum as it goes
}
k8s_ldflags() {
  local d pkg f="-s -w" minor=${K8S_VERSION#1.}; minor=${minor%%.*}
  d=$(date -u -d "@${SOURCE_DATE_EPOCH:-1770728016}" +%FT%TZ)
  for pkg in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    f+=" -X $pkg.gitVersion=v$K8S_VERSION -X $pkg.gitMajor=1 -X $pkg.gitMinor=$minor"
    f+=" -X $pkg.gitCommit=unknown -X $pkg.gitTreeState=clean -X $pkg.buildDate=$d"
  done
  echo "$f"
}
k8s_build() { # NAME
  cd "$K8S_SRC" && GOFLAGS="$GOFLAGS -mod=mod" $NICE go build -p "$JOBS" -trimpath -ldflags "$(k8s_ldflags)" -o "$BIN/$1" "k8s.io/kubernetes/cmd/$1"
}
etcd_build() {
  cd "$K8S_SRC" && GOFLAGS="$GOFLAGS -mod=mod" $NICE go build -p "$JOBS" -trimpath -ldflags "-s -w" -o "$BIN/etcd" go.etcd.io/etcd/server/v3
}

timed k8s-mod "$K8S_VERSION" "$K8S_SRC/go.mod" k8s_mod
timed etcd "$K8S_VERSION" "$BIN/etcd" etcd_build      # the etcd version is the one Kubernetes pins
timed kube-apiserver "$K8S_VERSION" "$BIN/kube-apiserver" k8s_build kube-apiserver
[ "$WHAT" = api ] && exit 0
timed kubectl "$K8S_VERSION" "$BIN/kubectl" k8s_build kubectl
[ "$WHAT" = minimal ] && exit 0
for c in kube-controller-manager kube-scheduler kubelet kube-proxy; do
  timed $c "$K8S_VERSION" "$BIN/$c" k8s_build $c
done

# ---- CoreDNS: only the plugins we use -------------------------------------------------------------
coredns_build() {
  local d=$KL/src/coredns; mkdir -p "$d"; cp "$HERE/coredns/main.go" "$d/"; cd "$d"
  local stg=v0.${K8S_VERSION#1.}
  cat >go.mod <<M
module kubelab/coredns
go 1.24.0
require (
	github.com/coredns/coredns v$COREDNS_VERSION
	k8s.io/api $stg
	k8s.io/apimachinery $stg
	k8s.io/client-go $stg
)
M
  GOFLAGS="$GOFLAGS -mod=mod" $NICE go build -p "$JOBS" -trimpath -ldflags "-s -w -X github.com/coredns/coredns/coremain.GitCommit=lab" -o "$BIN/coredns" .
}
timed coredns "$COREDNS_VERSION $(cksum <"$HERE/coredns/main.go")" "$BIN/coredns" coredns_build

# ---- our own little programs: pause, echo, mkimage ------------------------------------------------
tools_build() {
  cd "$HERE/go" && $NICE go build -p "$JOBS" -trimpath -ldflags "-s -w" -o "$BIN/" ./mkimage ./pause ./echo
}
timed tools "$(cat "$HERE"/go/*/main.go | cksum)" "$BIN/mkimage" tools_build

# ---- container runtime: Debian's containerd + runc + CNI plugins + a static busybox, unpacked
# beside us (not installed: no system service, no files in /etc). nft and iptables: installed if absent.
debs() {
  mkdir -p "$KL/deb" && cd "$KL/deb" && rm -rf root *.deb
  apt-get download -qq containerd runc containernetworking-plugins busybox-static libseccomp2 2>/dev/null ||
    { apt-get update -qq && apt-get download -qq containerd runc containernetworking-plugins busybox-static libseccomp2 2>/dev/null; }
  mkdir root; local d; for d in *.deb; do dpkg -x "$d" root; done
  local b; for b in containerd ctr containerd-shim-runc-v2; do ln -sf "$KL/deb/root/usr/bin/$b" "$BIN/$b"; done
  ln -sf "$KL/deb/root/usr/sbin/runc" "$BIN/runc"
  ln -sf "$KL/deb/root/bin/busybox" "$BIN/busybox"
  mkdir -p "$KL/cni"; cp -f root/usr/lib/cni/{bridge,host-local,loopback,portmap,bandwidth,firewall,tuning,ptp} "$KL/cni/"
}
timed debs "$(. /etc/os-release; echo "$ID$VERSION_ID")" "$BIN/containerd" debs
host_tools() {
  local need=""; command -v nft >/dev/null || need+=" nftables"; command -v iptables >/dev/null || need+=" iptables"
  [ -n "$need" ] && { apt-get install -y -qq --no-install-recommends $need >/dev/null; }
  command -v nft >/dev/null && command -v iptables >/dev/null
}
host_tools

# ---- images: one-layer OCI archives ---------------------------------------------------------------
images() {
  mkdir -p "$KL/images"; cd "$KL/images"
  mkimage -o pause.tar -ref lab.local/pause:1 -entrypoint /pause "$BIN/pause:/pause:755"
  mkimage -o coredns.tar -ref lab.local/coredns:v$COREDNS_VERSION -entrypoint /coredns "$BIN/coredns:/coredns:755"
  local links="" a
  for a in sh ls cat ip wget nc nslookup ping ps netstat route env sleep id hostname mount vi grep head tail traceroute telnet; do links+=" -link /bin/$a=busybox"; done
  mkimage -o echo.tar -ref lab.local/echo:1 -entrypoint /bin/echo-server -port 8080/tcp -port 7777/tcp -port 7777/udp \
    $links "$BIN/echo:/bin/echo-server:755" "$(readlink -f "$BIN/busybox"):/bin/busybox:755"
}
# lab.local/nettools:1 = the echo image + iptables (nft and legacy), nft and their libraries, out of the
# host's Debian packages: what a traffic agent's init container needs
nettools() {
  mkdir -p "$KL/images"; cd "$KL/images"; local f l args="" links=""
  local nft=$(readlink -f "$(command -v nft)") xn=/usr/sbin/xtables-nft-multi xl=/usr/sbin/xtables-legacy-multi
  for f in $nft $xn $xl; do args+=" $f:$f:755"; done
  for l in $(ldd $nft $xn $xl | awk '$3 ~ /^\//{print $3} $1 ~ /^\/.*ld-linux/{print $1}' | sort -u); do args+=" $l:$l:755"; done
  args+=" $(dirname "$(find /usr/lib -name libxt_tcp.so | head -1)"):$(dirname "$(find /usr/lib -name libxt_tcp.so | head -1)")"
  for f in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
    links+=" -link /usr/sbin/$f=xtables-nft-multi -link /usr/sbin/${f/tables/tables-legacy}=xtables-legacy-multi"; done
  for f in sh ls cat ip wget nc nslookup ping ps netstat route env sleep id hostname mount mkdir mknod grep head tail; do links+=" -link /bin/$f=busybox"; done
  mkimage -o nettools.tar -ref lab.local/nettools:1 -entrypoint /bin/echo-server -dir /run $links \
    "$BIN/echo:/bin/echo-server:755" "$(readlink -f "$BIN/busybox"):/bin/busybox:755" $args
}
timed nettools "$(cat "$HERE"/go/*/main.go "$HERE/build.sh" | cksum)" "$KL/images/nettools.tar" nettools
timed images "$(cat "$HERE"/go/*/main.go "$HERE/coredns/main.go" "$HERE/build.sh" | cksum) $COREDNS_VERSION" "$KL/images/echo.tar" images
note "all built: $BIN"
