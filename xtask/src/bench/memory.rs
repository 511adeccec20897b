//! Resident memory of a freshly connected daemon: idle, and with many connections that say nothing.
use std::collections::BTreeMap;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::load;
use super::proc;
use super::run::Run;
use super::subjects::{Site, Subject};

const CONNECTIONS: usize = 10_000;
const FEW: usize = 1_000;
/// How long connections are held: enough to look at them.
const HELD: f64 = 5.0;
/// What setting up has used is given back by then (tp-proto/src/memory.rs).
const SETTLED: Duration = Duration::from_secs(5);
/// Until all of them are open.
const OPEN_WITHIN: Duration = Duration::from_secs(120);

/// What managers have before anything was asked of them: they are shared, and keep for a while what load has made them take.
pub(crate) fn of_managers(site: &Site) -> BTreeMap<u32, f64> {
    let all = site.subjects.iter().flat_map(Subject::processes);
    let managers = all.filter(|(role, _)| *role == "manager");
    managers.filter_map(|(_, pid)| Some((pid, proc::resident(pid).ok()?))).collect()
}

/// For every subject with a daemon.
pub(crate) fn measure(site: &mut Site, fresh: &BTreeMap<u32, f64>, quick: bool, run: &mut Run) {
    let mut subjects = std::mem::take(&mut site.subjects);
    for subject in subjects.iter_mut().filter(|subject| subject.session.is_some()) {
        if let Err(error) = of_subject(site, subject, fresh, quick, run) {
            run.fail(format!("{}, {}, memory: {error:#}", site.name, subject.name));
        }
    }
    site.subjects = subjects;
}

fn of_subject(
    site: &Site,
    subject: &mut Subject,
    fresh: &BTreeMap<u32, f64>,
    quick: bool,
    run: &mut Run,
) -> Result<()> {
    if let Some(session) = &mut subject.session {
        session.down()?;
        session.up()?;
    }
    sleep(SETTLED);
    let processes = subject.processes();
    let pid_of = |role: &str| processes.iter().find(|(known, _)| *known == role).map(|(_, pid)| *pid);
    let daemon = pid_of("daemon").context("there is no daemon")?;
    let idle = proc::resident(daemon)?;
    run.add(site.name, subject.name, "memory-idle", idle);
    eprintln!("  {:<15} {} {:.1} MB idle", "memory", subject.name, idle / 1e6);

    let Some(sink) = site.sink else { return Ok(()) };
    let subject = &*subject;
    let connections = if quick { FEW } else { CONNECTIONS };
    let manager = pid_of("manager").context("there is no manager")?;
    let manager_idle = *fresh.get(&manager).context("the manager is another one")?;
    let case = format!("idle={connections}");
    let (with_all, manager_with_all) = thread::scope(|scope| {
        let load = scope.spawn(|| load::bench(&site.programs, subject, &case, HELD).map(drop));
        let open_before = proc::descriptors(sink);
        let started = Instant::now();
        while proc::descriptors(sink) < open_before + connections {
            if load.is_finished() {
                return match load.join() {
                    Ok(Err(error)) => Err(error),
                    _ => bail!("not all of {connections} connections were open at once"),
                };
            }
            ensure!(started.elapsed() < OPEN_WITHIN, "{connections} connections are not open in time");
            sleep(Duration::from_millis(50));
        }
        sleep(SETTLED);
        let resident = (proc::resident(daemon)?, proc::resident(manager)?);
        match load.join() {
            Ok(done) => done.map(|()| resident),
            Err(_) => bail!("the load generator's thread panicked"),
        }
    })?;
    let each = |with_all: f64, idle: f64| (with_all - idle) / connections as f64;
    let (daemons, managers) = (each(with_all, idle), each(manager_with_all, manager_idle));
    run.add(site.name, subject.name, "memory-per-connection", daemons);
    run.add(site.name, subject.name, "memory-manager-per-connection", managers);
    eprintln!(
        "  {:<15} {} {:.1} KB per connection in the daemon, {:.1} in the manager, at {connections}",
        "",
        subject.name,
        daemons / 1e3,
        managers / 1e3
    );
    Ok(())
}
