//! A compiler for the kernel programs: rustup's nightly with rust-src, or Debian's rustc with a prebuilt `core`; and bpf-linker.
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::apt;
use crate::{machine, sh};

const DEBIAN_CORE: &str = "/usr/lib/rustlib/bpfel-unknown-none";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const LINKER: &str = "^0.13";

pub(crate) fn toolchain() -> Result<()> {
    if nightly_with_source() || debian() {
        return Ok(());
    }
    // Debian first: it needs nothing but the package sources
    if apt::offers("libstd-rust-web-dev-bpf") {
        return apt::install(&["rustc-web", "libstd-rust-web-dev-bpf"]);
    }
    if sh::have("rustup") {
        return sh::run(&mut sh::cmd(
            "rustup toolchain install nightly --profile minimal --component rust-src",
        ));
    }
    bail!("no compiler for the kernel programs\n\nhint: install rustup, then run this again")
}

pub(crate) fn linker() -> Result<()> {
    if sh::have("bpf-linker") {
        return Ok(());
    }
    eprintln!("setup: building bpf-linker, once");
    let tools = machine::tools();
    let mut install = sh::cmd(&format!("cargo install --quiet bpf-linker --version {LINKER}"));
    install.arg("--root").arg(&tools);
    if !nightly_with_source() && debian() {
        let llvm = debian_llvm()?;
        let packages = [format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev")];
        apt::install(&[&packages[0], &packages[1], "zlib1g-dev", "libzstd-dev"])?;
        let prefix = format!("/usr/lib/llvm-{llvm}");
        let path = std::env::var("PATH").unwrap_or_default();
        install.args(["--no-default-features", "--features", &format!("llvm-{llvm}")]);
        install.env("LLVM_PREFIX", &prefix).env(format!("LLVM_SYS_{llvm}1_PREFIX"), &prefix);
        install.env("PATH", format!("{prefix}/bin:{path}")).env("RUSTFLAGS", format!("-L{prefix}/lib"));
    }
    sh::run(&mut install).context("bpf-linker could not be built")
}

fn nightly_with_source() -> bool {
    let sysroot =
        || sh::read(sh::cmd("rustup run nightly rustc --print sysroot").env_remove("RUSTUP_TOOLCHAIN"));
    let nightly =
        || sh::read(&mut sh::cmd("rustup toolchain list")).is_ok_and(|list| list.contains("nightly"));
    sh::have("rustup")
        && nightly()
        && sysroot().is_ok_and(|dir| Path::new(dir.trim()).join("lib/rustlib/src/rust/library/core").exists())
}

fn debian() -> bool {
    Path::new(DEBIAN_CORE).exists() && Path::new(DEBIAN_RUSTC).exists()
}

/// The major version of LLVM that Debian's compiler was built with: bpf-linker must read its bitcode.
fn debian_llvm() -> Result<String> {
    let text = sh::read(&mut sh::cmd(&format!("{DEBIAN_RUSTC} --version --verbose")))?;
    let version =
        text.lines().find_map(|line| line.strip_prefix("LLVM version: ")).context("rustc names no LLVM")?;
    Ok(version.split('.').next().unwrap_or(version).to_owned())
}
