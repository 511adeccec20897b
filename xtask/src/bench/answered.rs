//! From `tp connect` to the first answer of a service, asked by name. Warm: it has been connected before.
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::run::Run;
use super::subjects::{Site, Subject};

const METRIC: &str = "answered";

/// One round, for every subject with a daemon.
pub(crate) fn round(site: &mut Site, run: &mut Run) {
    let (name, probe) = (site.name, site.programs.word("tp-probe"));
    for subject in site.subjects.iter_mut().filter(|subject| subject.session.is_some()) {
        match once(subject, &probe) {
            Ok(seconds) => {
                eprintln!("  {METRIC:<15} {} {seconds:.2} s", subject.name);
                run.add(name, subject.name, METRIC, seconds);
            }
            Err(error) => run.fail(format!("{name}, {}, {METRIC}: {error:#}", subject.name)),
        }
    }
}

fn once(subject: &mut Subject, probe: &str) -> Result<f64> {
    let host = subject.dns.clone().context("the sink has no name")?;
    let port = subject.target.rsplit_once(':').context("the sink has no port")?.1;
    let session = subject.session.as_mut().context("there is no session")?;
    session.down()?;
    let started = Instant::now();
    session.up()?;
    // the first byte asks the sink for an echo
    let answer = subject.place.read(&[probe, "echo", &format!("{host}:{port}"), "ehello"])?;
    let seconds = started.elapsed().as_secs_f64();
    ensure!(answer.contains("\"hello\""), "a wrong answer: {}", answer.trim());
    Ok(seconds)
}
