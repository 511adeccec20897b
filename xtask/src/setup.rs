//! Finds or installs what building and testing need. Idempotent: a second run only looks.
mod apt;
mod bpf;
mod go;
mod resolvers;

use anyhow::Result;

pub(crate) use go::lab;
pub(crate) use resolvers::dir as resolvers_dir;

/// Enough for `cargo xtask build` and `cargo xtask demo`.
pub(crate) fn build() -> Result<()> {
    apt::programs(&[
        ("cc", "build-essential"),
        ("curl", "curl"),
        ("ip", "iproute2"),
        ("nsenter", "util-linux"),
        ("git", "git"),
    ])?;
    bpf::toolchain()?;
    bpf::linker()?;
    eprintln!("setup: ready to build");
    Ok(())
}

/// Besides, for `cargo xtask fuzz`: libFuzzer is C++.
pub(crate) fn fuzz() -> Result<()> {
    apt::programs(&[("c++", "g++")])
}

/// Besides, for `cargo xtask test`.
pub(crate) fn tests() -> Result<()> {
    fuzz()?;
    apt::programs(&[
        ("dig", "bind9-dnsutils"),
        ("nft", "nftables"),
        ("iptables", "iptables"),
        ("python3", "python3-minimal"),
        ("sysctl", "procps"),
        ("openssl", "openssl"),
        ("musl-gcc", "musl-tools"),
        ("busybox", "busybox-static"),
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("cpio", "cpio"),
    ])?;
    resolvers::build()?;
    eprintln!("setup: ready to test");
    Ok(())
}
