//! Builds the kernel programs (tp-ebpf) from source and puts the object where the daemon embeds it from.
//!
//! Rust compiles for BPF, but `core` for that target is not part of rustup's stable toolchain. Two ways to have it:
//! rustup's nightly with rust-src (builds `core` itself), or a distribution's rustc with a prebuilt one (Debian:
//! rustc-web, libstd-rust-web-dev-bpf). `cargo xtask setup` sees to one of them and to bpf-linker.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "bpfel-unknown-none";
const DISTRIBUTION_RUSTC: &str = "/usr/bin/rustc";
const DISTRIBUTION_CORE: &str = "/usr/lib/rustlib/bpfel-unknown-none";
const HINT: &str = "hint: run `cargo xtask setup` once; it installs what is missing";

fn main() {
    let workspace = PathBuf::from(env_var("CARGO_MANIFEST_DIR")).join("..");
    let programs = workspace.join("tp-ebpf");
    for input in ["tp-ebpf/src", "tp-ebpf/Cargo.toml", "tp-ebpf/Cargo.lock", "tp-common/src"] {
        println!("cargo:rerun-if-changed={}", workspace.join(input).display());
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=PATH");

    let out = PathBuf::from(env_var("OUT_DIR"));
    let mut build = Toolchain::find().cargo();
    build
        .current_dir(&programs)
        .env("PATH", path_with_linker())
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            format!("--cfg=bpf_target_arch=\"{}\"", env_var("CARGO_CFG_TARGET_ARCH")),
        )
        .args(["build", "--release", "--locked", "--target", TARGET, "--target-dir"])
        .arg(out.join("ebpf"));
    match build.status() {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("building the kernel programs (tp-ebpf) failed: {status}"),
        Err(error) => {
            panic!("building the kernel programs (tp-ebpf): cannot start {build:?}: {error}\n\n{HINT}")
        }
    }
    let object = out.join("ebpf").join(TARGET).join("release/tp-ebpf");
    println!("cargo:rustc-env=TP_EBPF_OBJECT={}", object.display());
}

enum Toolchain {
    RustupNightly,
    Distribution,
}

impl Toolchain {
    fn find() -> Self {
        if nightly_source().is_some_and(|source| source.exists()) {
            return Self::RustupNightly;
        }
        if Path::new(DISTRIBUTION_CORE).exists() && Path::new(DISTRIBUTION_RUSTC).exists() {
            return Self::Distribution;
        }
        panic!(
            "building the kernel programs (tp-ebpf): no Rust compiler here can build for {TARGET}: neither rustup's \
             nightly with the rust-src component nor {DISTRIBUTION_CORE}\n\n{HINT}"
        );
    }

    fn cargo(&self) -> Command {
        let mut command;
        match self {
            Self::RustupNightly => {
                command = Command::new("rustup");
                command.args(["run", "nightly", "cargo", "-Zbuild-std=core"]);
                command.env_remove("RUSTC");
            }
            Self::Distribution => {
                command = Command::new(env_var("CARGO"));
                command.env("RUSTC", DISTRIBUTION_RUSTC).env("RUSTC_BOOTSTRAP", "1");
            }
        }
        // What is meant for the host's build (and for clippy) must not reach this one.
        for name in [
            "RUSTUP_TOOLCHAIN",
            "RUSTFLAGS",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "CARGO_BUILD_TARGET",
        ] {
            command.env_remove(name);
        }
        command
    }
}

/// Where rustup's nightly keeps the source of `core`, if there is such a toolchain.
fn nightly_source() -> Option<PathBuf> {
    let output = Command::new("rustup")
        .args(["run", "nightly", "rustc", "--print", "sysroot"])
        .env_remove("RUSTUP_TOOLCHAIN")
        .output()
        .ok()?;
    let sysroot = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    Some(Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core"))
}

/// PATH with the directory of bpf-linker in front: already there, or in the project's cache.
fn path_with_linker() -> String {
    let path = env::var("PATH").unwrap_or_default();
    let cache = env::var("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|_| env::var("HOME").map(|home| Path::new(&home).join(".cache")))
        .map(|cache| cache.join("tp/tools/bin"));
    let known = env::split_paths(&path).chain(cache);
    match known.into_iter().find(|directory| directory.join("bpf-linker").exists()) {
        Some(directory) => format!("{}:{path}", directory.display()),
        None => panic!("building the kernel programs (tp-ebpf): bpf-linker is not on the PATH\n\n{HINT}"),
    }
}

fn env_var(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo did not set {name}"))
}
