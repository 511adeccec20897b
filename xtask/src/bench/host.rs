//! The machine a run was taken on: enough to judge the figures, nothing that says whose it is.
use std::fs;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::sh;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    /// Only the version: the rest of the name may be that of whoever built it.
    pub(crate) kernel: String,
    pub(crate) virtual_machine: bool,
    pub(crate) date: String,
}

pub(crate) fn look() -> Result<Machine> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(Machine {
        processor: field(&cpu, "model name").unwrap_or("unknown").to_owned(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_gib: field(&memory, "MemTotal")
            .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
            .map_or(0, |kib| kib.div_ceil(1024 * 1024)),
        kernel: version(&kernel).to_owned(),
        virtual_machine: field(&cpu, "flags")
            .is_some_and(|flags| flags.split(' ').any(|f| f == "hypervisor")),
        date: sh::read(&mut sh::cmd("date -u +%Y-%m-%d"))?.trim().to_owned(),
    })
}

impl Machine {
    /// One line for people.
    pub(crate) fn shown(&self) -> String {
        let kind = if self.virtual_machine { ", a virtual machine" } else { "" };
        format!(
            "{}, {} cores{kind}, {} GiB, Linux {}, {}",
            self.processor, self.cores, self.memory_gib, self.kernel, self.date
        )
    }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(name)?.trim_start().strip_prefix(':').map(str::trim);
    text.lines().find_map(value)
}

/// `6.18.44` of `6.18.44-somebody-s-build`.
fn version(release: &str) -> &str {
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(release.len());
    &release[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_told_without_its_builder() {
        assert_eq!(version("6.18.44-fc-v445\n"), "6.18.44");
        assert_eq!(version("6.1.0-28-amd64"), "6.1.0");
    }

    #[test]
    fn fields_of_proc() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nMemTotal:  1024 kB\n";
        assert_eq!(field(text, "model name"), Some("Some CPU @ 2 GHz"));
        assert_eq!(field(text, "MemTotal"), Some("1024 kB"));
        assert_eq!(field(text, "flags"), None);
    }
}
