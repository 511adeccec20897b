#!/usr/bin/env bash
# The dataplane's namespace suite on another kernel: tests/kernels/run.sh 6.1 [TEST-BINARY..]
#
# Boots Debian's cloud kernel of that series under qemu's software emulation (no KVM needed, changes nothing here)
# with an initramfs of busybox, ip, nft and the test binaries, and runs those. Without TEST-BINARY it builds the two of
# tp-daemon. Kernels are kept in the cache; needs qemu-system-x86, busybox-static, cpio, and apt for the kernel.
set -euo pipefail

series=${1:?usage: tests/kernels/run.sh SERIES [TEST-BINARY..], e.g. 6.1}
shift
root=$(cd "$(dirname "$0")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tp/kernels/$series
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() { printf '%s\n\nhint: %s\n' "$1" "$2" >&2; exit 1; }
for program in qemu-system-x86_64 busybox cpio nft ip dpkg; do
    command -v "$program" > "$work/which" || fail "running the kernel tests: $program is missing" \
        "apt-get install --no-install-recommends qemu-system-x86 busybox-static cpio nftables iproute2"
done

# -- kernel ----------------------------------------------------------------------------------------------------
if ! compgen -G "$cache/boot/vmlinuz-*" > "$work/found"; then
    package=$(apt-cache search --names-only "^linux-image-${series//./\\.}\.[0-9.]+-[0-9]+-cloud-amd64\$" \
        | cut -d' ' -f1 | sort -V | tail -1)
    [ -n "$package" ] || fail "running the kernel tests: no cloud kernel $series in the package lists" "apt-get update"
    (cd "$work" && apt-get download "$package")
    mkdir -p "$cache"
    dpkg -x "$work"/linux-image-*.deb "$cache"
fi
kernel=$(compgen -G "$cache/boot/vmlinuz-*" | sort -V | tail -1)
release=${kernel##*/vmlinuz-}

# -- test binaries ---------------------------------------------------------------------------------------------
if [ $# -eq 0 ]; then
    mapfile -t built < <(cd "$root" && cargo test -p tp-daemon --test dataplane --test process --no-run \
        --message-format=json | sed -n 's|.*"executable":"\([^"]*/deps/[^"]*\)".*|\1|p')
    [ ${#built[@]} -eq 2 ] || fail "running the kernel tests: cargo named ${#built[@]} test programs, not two" \
        "cargo test -p tp-daemon --test dataplane --test process --no-run"
    set -- "${built[@]}"
fi

# -- initramfs -------------------------------------------------------------------------------------------------
tree=$work/tree
mkdir -p "$tree"/{bin,sbin,usr/bin,proc,sys,dev,tmp,tests,etc,root} "$tree/lib/modules"
cp -a "$cache/lib/modules/$release" "$tree/lib/modules/"
find "$tree/lib/modules/$release/kernel" -type f \
    ! -path '*/net/*' ! -path '*/lib/*' ! -path '*/crypto/*' -delete
# A program and the libraries it is linked with, where its loader looks for them.
install_program() {
    install -D "$1" "$tree$2"
    ldd "$1" > "$work/ldd" 2>&1 || return 0 # linked statically
    grep -o '/[^ ]*' "$work/ldd" | while read -r library; do
        install -D "$library" "$tree$library"
    done
}
install_program "$(command -v busybox)" /bin/busybox
for name in $(busybox --list); do
    case $name in ip | sh | busybox) ;; *) ln -sf /bin/busybox "$tree/bin/$name" ;; esac
done
install_program /bin/sh /bin/sh # busybox's prefers its own ip, which knows less
install_program "$(command -v ip)" /sbin/ip
install_program "$(command -v nft)" /sbin/nft
for binary in "$@"; do
    install_program "$binary" "/tests/$(basename "$binary")"
done
busybox depmod -b "$tree" "$release" 2> "$work/depmod" || cat "$work/depmod"
cat > "$tree/init" <<'INIT'
#!/bin/sh
export PATH=/sbin:/bin RUST_BACKTRACE=0
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
for module in tun veth bridge cls_bpf sch_ingress nf_tables nf_conntrack nf_conntrack_netlink tcp_diag udp_diag nft_ct nft_chain_nat nft_masq nft_fib_inet nft_fib_ipv4 nft_fib_ipv6; do
    modprobe "$module" || echo "no module $module"
done
uname -r
result=ok
for binary in /tests/*; do
    # The emulated machine has one slow processor: one test at a time, or the tests' own time limits are too short.
    # What is about amounts and not about the kernel takes minutes here.
    "$binary" --test-threads=1 --skip silly_windows || result=failed
done
echo "KERNEL-TESTS $(uname -r): $result"
poweroff -f
INIT
chmod +x "$tree/init"
(cd "$tree" && find . | cpio -o -H newc -R 0:0 --quiet | gzip -1) > "$work/initrd.gz"

# -- run -------------------------------------------------------------------------------------------------------
timeout 1500 qemu-system-x86_64 -accel tcg -cpu max -m 1024 -smp 1 -nographic -no-reboot -nic none \
    -kernel "$kernel" -initrd "$work/initrd.gz" -append 'console=ttyS0 quiet panic=-1' < /dev/null | tee "$work/log"
grep -q '^KERNEL-TESTS .*: ok' "$work/log" || fail "the dataplane's tests failed on Linux $release" "the log is above"
