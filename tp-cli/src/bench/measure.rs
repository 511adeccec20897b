//! One case after the other.

use std::time::Duration;

use anyhow::{Result, anyhow};

use super::case::Case;
use super::row::{Failed, Row};
use super::target::Target;
use super::{bulk, datagrams, idle, names, peer, ports, small};
use crate::progress::Progress;
use crate::report::{text, with_hint};

/// Measures all of `plan`. A case that fails does not keep the next from being measured.
pub(super) fn all(
    target: &Target,
    plan: &[Case],
    lasts: Duration,
    progress: &mut Progress,
) -> Result<(Vec<Row>, Vec<Failed>)> {
    if target.is_sink {
        peer::greet(target.address).map_err(|error| {
            with_hint(error.context(format!("connecting to the sink at {}", target.shown)), target.hint)
        })?;
    }
    let (mut results, mut failed) = (Vec::new(), Vec::new());
    for case in plan {
        match one(target, *case, lasts, progress) {
            Ok(row) => results.push(row),
            Err(error) => {
                let error = text(&error).trim_start_matches("error: ").trim_end().to_owned();
                failed.push(Failed { case: case.to_string(), error });
            }
        }
    }
    Ok((results, failed))
}

fn one(target: &Target, case: Case, lasts: Duration, progress: &mut Progress) -> Result<Row> {
    let sink = target.address;
    if let Case::Connect { .. } = case {
        ports::wait(small::MOST, |taken| {
            let why = format!("waits up to a minute: closed connections still hold {taken} ports");
            progress.step(&case.to_string(), &why);
        });
    }
    progress.step(&case.to_string(), &format!("{} s", lasts.as_secs_f64()));
    Ok(match case {
        Case::Upload { streams } => {
            Row::Upload { streams, bytes_per_second: bulk::upload(sink, streams, lasts)? }
        }
        Case::Download { streams } => {
            Row::Download { streams, bytes_per_second: bulk::download(sink, streams, lasts)? }
        }
        Case::RoundTrip => {
            let sample = small::round_trip(sink, lasts)?;
            let count = sample.count();
            let (p50_us, p99_us) = sample.p50_p99();
            Row::RoundTrip { p50_us, p99_us, count }
        }
        Case::Connect { at_once } => {
            let made = small::connections(sink, target.is_sink, at_once, lasts)?;
            let per_second = made.sample.count() as f64 / made.took.as_secs_f64();
            let (p50_us, p99_us) = made.sample.p50_p99();
            Row::Connect { at_once, per_second, p50_us, p99_us, failed: made.failed, error: made.error }
        }
        Case::UdpRoundTrip => {
            let (sample, lost) = datagrams::round_trip(sink, lasts)?;
            let count = sample.count();
            let (p50_us, p99_us) = sample.p50_p99();
            Row::UdpRoundTrip { p50_us, p99_us, count, lost }
        }
        Case::UdpPackets => {
            let passed = datagrams::packets(sink, lasts)?;
            let rate = |count: u64| count as f64 / passed.took.as_secs_f64();
            Row::UdpPackets {
                sent_per_second: rate(passed.sent),
                received_per_second: rate(passed.received),
                lost: passed.sent.saturating_sub(passed.received),
            }
        }
        Case::Dns => {
            let name = target.name.as_deref().ok_or_else(|| anyhow!("there is no name to look up"))?;
            let looked = names::lookups(name, lasts)?;
            let per_second = looked.sample.count() as f64 / looked.took.as_secs_f64();
            let (p50_us, p99_us) = looked.sample.p50_p99();
            let at_once = names::AT_ONCE;
            Row::Dns { at_once, per_second, p50_us, p99_us, failed: looked.failed, error: looked.error }
        }
        Case::Idle { connections } => {
            let held = idle::hold(sink, connections, lasts, |open| {
                progress.step(&case.to_string(), &format!("{open} connections are open"));
            })?;
            Row::Idle {
                connections,
                opened: held.opened,
                failed: held.failed,
                open_seconds: held.open_seconds,
                seconds: lasts.as_secs_f64(),
                error: held.error,
            }
        }
    })
}
