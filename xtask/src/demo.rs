//! The demo: everything in `xtask/demo.sh`, run as root in network namespaces of its own.
use anyhow::Result;

use crate::{machine, programs, setup, sh};

pub(crate) fn run(keep: bool) -> Result<()> {
    setup::build()?;
    let programs = programs::dev()?;
    let script = machine::root().join("xtask/demo.sh");
    let mut demo = sh::root(&format!("{} {}", script.display(), programs.display()));
    if keep {
        demo.arg("--keep");
    }
    sh::run(&mut demo)
}
