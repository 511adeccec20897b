//! `tp bench`: measures what programs on this machine get, against the manager's sink, a sink of one's own, or any
//! server.
//!
//! All of it is ordinary blocking sockets in ordinary threads: what is measured is the way, not the measuring.

mod bulk;
mod case;
mod datagrams;
mod idle;
mod measure;
mod names;
mod peer;
mod ports;
mod row;
mod sample;
mod small;
mod target;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use clap::error::ErrorKind;

use crate::output::Output;
use crate::progress::Progress;
pub use case::Case;
pub use row::{Failed, Row, View};
use target::Target;

#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Measure against this sink, started with `tp-traffic sink` [default: the connected manager's own]
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "address")]
    sink: Option<String>,
    /// Only measure how fast connections to this server are made; any TCP server will do
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// Measure this only; may be given more than once
    ///
    /// upload, upload-8, download, download-8 (8: streams at once), round-trip, connect, connect-64 (64 at once),
    /// udp-round-trip, udp-packets, dns, idle[=N] (N connections kept open, 10000 if not said).
    /// [default: all but idle, and dns if there is a name]
    #[arg(long = "case", value_name = "CASE", value_parser = str::parse::<Case>)]
    cases: Vec<Case>,
    /// How long each of them takes
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    seconds: Duration,
    /// Complete DNS name to look up [default: the connected manager's own]
    #[arg(long, value_name = "DNSNAME", value_parser = names::complete)]
    name: Option<String>,
}

impl BenchArgs {
    /// What is to be measured, or why not.
    fn plan(&self, target: &Target) -> Result<Vec<Case>, String> {
        let (sink, name) = (target.is_sink, target.name.is_some());
        let possible = |case: &Case| match case {
            Case::Dns => name,
            Case::Connect { .. } => true,
            _ => sink,
        };
        if let Some(case) = self.cases.iter().find(|case| !possible(case)) {
            return Err(match case {
                Case::Dns => "`--case dns` needs a name to look up: --name DNSNAME".to_owned(),
                case => format!("`--case {case}` needs a sink: any server of --address will not do"),
            });
        }
        if self.cases.is_empty() {
            return Ok(Case::ordinary().filter(possible).collect());
        }
        Ok(self.cases.clone())
    }
}

pub async fn run(args: BenchArgs, output: Output, usage: impl FnOnce(ErrorKind, String)) -> Result<ExitCode> {
    let target = target::find(&args).await?;
    let plan = match args.plan(&target) {
        Ok(plan) => plan,
        Err(text) => {
            usage(ErrorKind::ArgumentConflict, text);
            return Ok(ExitCode::from(2));
        }
    };
    let measuring = tokio::task::spawn_blocking(move || {
        let mut progress = Progress::new();
        let measured = measure::all(&target, &plan, args.seconds, &mut progress);
        match &measured {
            Ok((_, failed)) if failed.is_empty() => progress.succeed(),
            _ => progress.fail(),
        }
        measured.map(|(results, failed)| View::new(target, results, failed))
    });
    let view = measuring.await.context("measuring")??;
    output.print(&view, View::text)?;
    Ok(if view.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let error = || format!("{text:?} is no number of seconds between 0.1 and 3600");
    let seconds: f64 = text.parse().map_err(|_| error())?;
    if (0.1..=3600.0).contains(&seconds) { Ok(Duration::from_secs_f64(seconds)) } else { Err(error()) }
}
