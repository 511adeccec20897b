//! Small programs that resolve a name in other ways than this machine's C library: musl's, Go's, busybox's.
use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::{machine, sh};

pub(crate) fn dir() -> PathBuf {
    machine::tools().join("resolvers")
}

pub(crate) fn build() -> Result<()> {
    let (dir, tests) = (dir(), machine::root().join("tests"));
    fs::create_dir_all(&dir)?;
    let musl = dir.join("musl-resolve");
    if !musl.exists() {
        let source = tests.join("tool/resolve.c");
        sh::run(&mut sh::cmd(&format!("musl-gcc -static -O1 -o {} {}", musl.display(), source.display())))?;
    }
    let go = dir.join("go-resolve");
    if !go.exists() && sh::have("go") {
        let mut build = sh::cmd(&format!("go build -buildvcs=false -o {} ./echo", go.display()));
        sh::run(build.current_dir(tests.join("kube/lab/go")).env("CGO_ENABLED", "0"))?;
    }
    let busybox = dir.join("busybox");
    if !busybox.exists() {
        fs::copy("/usr/bin/busybox", busybox).or_else(|_| fs::copy("/bin/busybox", dir.join("busybox")))?;
    }
    Ok(())
}
