//! Which crate may depend on which: the arrows of ARCHITECTURE.md.
use super::Entry;

/// A crate's directory and the crates of this project it may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("tp-common", &[]),
    ("tp-ebpf", &["tp-common"]),
    ("tp-core", &["tp-common"]),
    ("tp-proto", &["tp-core", "tp-common"]),
    ("tp-daemon", &["tp-proto", "tp-core", "tp-common"]),
    ("tp-cluster", &["tp-proto", "tp-core", "tp-common"]),
    ("tp-cli", &["tp-proto", "tp-core", "tp-common"]),
    ("xtask", &[]),
    // the tests know the programs only from outside
    ("tests/behaviour", &[]),
    ("tests/tool", &[]),
    ("tests/kube", &["tests-behaviour"]),
];

const OURS: &[&str] = &[
    "tp-common",
    "tp-ebpf",
    "tp-core",
    "tp-proto",
    "tp-daemon",
    "tp-cluster",
    "tp-cli",
    "xtask",
    "tests-behaviour",
    "tests-kube",
    "tp-probe",
];

/// For tests only: a fake workstation around the daemon's own process.
const ARROWS_OF_TESTS: &[(&str, &str)] = &[("tp-cli", "tp-daemon")];

/// What the core must not have: it decides, others act.
const NOT_IN_CORE: &[&str] = &["tokio", "socket2", "nix", "hyper", "tonic", "kube"];

pub(super) fn check(tree: &[Entry]) -> Vec<String> {
    let mut broken = Vec::new();
    for Entry { path, text } in tree.iter().filter(|entry| entry.path.ends_with("/Cargo.toml")) {
        let (Some(dir), Some(text)) = (path.strip_suffix("/Cargo.toml"), text) else { continue };
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == dir) else { continue };
        for (name, table) in dependencies(text) {
            let for_tests = table == "[dev-dependencies]" && ARROWS_OF_TESTS.contains(&(dir, name));
            if OURS.contains(&name) && !allowed.contains(&name) && !for_tests {
                broken.push(format!("{path}: depends on {name}, against the arrows of ARCHITECTURE.md"));
            }
            if dir == "tp-core" && NOT_IN_CORE.contains(&name) {
                broken.push(format!("{path}: depends on {name}, but the core does no input or output"));
            }
        }
    }
    broken
}

/// Names in all dependency tables of a manifest, each with its table.
fn dependencies(manifest: &str) -> Vec<(&str, &str)> {
    let mut table = "";
    let mut names = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            table = line;
        } else if table.ends_with("dependencies]")
            && let Some(name) =
                line.split(['=', '.', ' ']).next().filter(|name| !name.is_empty() && !name.starts_with('#'))
        {
            names.push((name, table));
        }
    }
    names
}
