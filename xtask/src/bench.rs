//! `cargo xtask bench`: what each way to the cluster costs, side by side in one run, and how near it is to the limit.
mod answered;
mod bars;
mod dataplane;
mod host;
mod kube;
mod load;
mod memory;
mod metrics;
mod namespace;
mod place;
mod proc;
mod programs;
mod publish;
mod report;
mod rounds;
mod run;
mod session;
mod subjects;
mod svg;
mod table;
mod telepresence;
#[cfg(test)]
mod tests;
mod veth;
mod work;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use self::metrics::Case;
use self::run::{How, Run};
use self::subjects::Site;
use crate::{machine, programs as build, sh};

#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// The subjects take turns in each round; medians of the rounds are compared
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Of one measurement
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Two short rounds: shows that all of it works; the figures are not worth much
    #[arg(long)]
    quick: bool,
    /// Where
    #[arg(long, value_name = "SETTING", value_delimiter = ',', default_values = ["dataplane", "veth"])]
    setting: Vec<Setting>,
    /// Also in the Kubernetes of the tests, which is started for it
    #[arg(long)]
    kube: bool,
    /// Only these cases
    #[arg(long, value_name = "CASE", value_delimiter = ',')]
    only: Vec<Case>,
    /// Only these subjects, e.g. relays,ebpf
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    subjects: Vec<String>,
    /// Cargo's profile for the programs: release, profiling, dev
    #[arg(long, default_value = "release")]
    profile: String,
    /// Take the programs from this directory, and build nothing
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// The dataplane's own test program, built already
    #[arg(long, hide = true)]
    test: Option<PathBuf>,
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    /// Measure nothing, show these saved runs; what two of them have comes from the later
    #[arg(long, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// Make this the committed latest: docs/bench, and the summary in README
    #[arg(long)]
    publish: bool,
    /// As root, for the process that shows it
    #[arg(long, hide = true)]
    measure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Setting {
    /// From the app's socket to the daemon's, no tunnel; not with --only, --subjects or --quick
    Dataplane,
    /// Workstations beside a node, the standalone manager
    Veth,
    /// Through the API server of a Kubernetes to a pod
    Kube,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Whether everything could be measured. How fast it was changes nothing.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let run = if options.from.is_empty() { measured(options)? } else { saved(&options.from)? };
    let json = serde_json::to_string_pretty(&run)?;
    if options.measure {
        println!("{json}");
        return Ok(true);
    }
    let dir = dir()?;
    fs::write(dir.join("run.json"), &json)?;
    fs::write(dir.join("report.html"), report::html(&run))?;
    match options.output {
        Output::Json => println!("{json}"),
        Output::Text => print!("{}", table::text(&run)),
    }
    eprintln!("\n{0}/report.html, {0}/run.json", dir.display());
    if options.publish {
        publish::publish(&run, &machine::root())?;
    }
    Ok(run.failed.is_empty())
}

/// Builds as the invoking user; measures as root.
fn measured(options: &Options) -> Result<Run> {
    let programs = match &options.programs {
        Some(dir) => dir.clone(),
        None => build::of_profile(&options.profile)?,
    };
    let test = match &options.test {
        Some(test) => Some(test.clone()),
        None if options.has(Setting::Dataplane) => Some(dataplane::build(&options.profile)?),
        None => None,
    };
    if machine::is_root() {
        return measure(options, &programs, test.as_deref());
    }
    let words = std::env::args().skip(1).filter(|word| word != "--publish").collect::<Vec<_>>().join(" ");
    let myself = std::env::current_exe()?;
    let mut line = format!("{} {words} --measure --programs {}", myself.display(), programs.display());
    line.extend(test.iter().map(|test| format!(" --test {}", test.display())));
    serde_json::from_str(&sh::read(&mut sh::root(&line))?).context("the run's JSON")
}

fn measure(options: &Options, programs: &Path, test: Option<&Path>) -> Result<Run> {
    let (rounds, seconds) = if options.quick { (2, 0.3) } else { (options.rounds, options.seconds) };
    let wanted = |name: &str| options.subjects.is_empty() || options.subjects.iter().any(|s| s == name);
    let revision = sh::read(&mut sh::cmd("git describe --always --dirty")).unwrap_or_default();
    let profile = options.profile.clone();
    let mut run = Run {
        machine: host::look()?,
        how: How { rounds, seconds, profile, revision: revision.trim().to_owned() },
        ..Run::default()
    };
    if let Some(test) = test {
        dataplane::measure(test, &mut run)?;
    }
    let work = work::Dir::new(&dir()?)?;
    let programs = programs::Programs::stage(programs, work.path())?;
    if options.has(Setting::Veth) {
        let site = veth::site(&programs, work.path(), wanted, &mut run)?;
        on_site(options, site, rounds, seconds, &mut run);
    }
    if options.has(Setting::Kube) {
        let site = kube::site(&programs, work.path(), wanted, &mut run)?;
        on_site(options, site, rounds, seconds, &mut run);
    }
    Ok(run)
}

/// Memory last: its daemons are fresh ones.
fn on_site(options: &Options, mut site: Site, rounds: u32, seconds: f64, run: &mut Run) {
    let cases = if options.only.is_empty() { Case::value_variants() } else { &options.only };
    let fresh = memory::of_managers(&site);
    rounds::warm_up(&mut site, run);
    for number in 1..=rounds {
        eprintln!("{}, round {number} of {rounds}", site.name);
        rounds::round(&site, cases, seconds, run);
        if cases.contains(&Case::Answered) {
            answered::round(&mut site, run);
        }
    }
    if cases.contains(&Case::Memory) {
        memory::measure(&mut site, &fresh, options.quick, run);
    }
}

impl Options {
    fn has(&self, setting: Setting) -> bool {
        let whole = !self.quick && self.only.is_empty() && self.subjects.is_empty();
        match setting {
            Setting::Dataplane => whole && self.setting.contains(&setting),
            Setting::Veth => self.setting.contains(&setting),
            Setting::Kube => self.kube || self.setting.contains(&setting),
        }
    }
}

fn saved(files: &[PathBuf]) -> Result<Run> {
    let mut all = Run::default();
    for file in files {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        all.merge(
            serde_json::from_str(&text).with_context(|| format!("{} is no saved run", file.display()))?,
        );
    }
    Ok(all)
}

/// Where reports are put.
fn dir() -> Result<PathBuf> {
    let dir = machine::target().join("bench");
    fs::create_dir_all(&dir)?;
    Ok(dir)
}
