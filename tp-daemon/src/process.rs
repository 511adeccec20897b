//! The daemon as a process: what it does as root, how it gives root up, and the order in which it ends.

mod inherited;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tp_core::invoker::Account;

use crate::backend::Backend;
use crate::control::{Control, Process};
use crate::dataplane::Choice;
use crate::failure::{Failure, OrHint};
use crate::janitor::{End, Janitor};
use crate::logging::{self, LogFile};
use crate::privileges;
use crate::signals::Signals;

/// Said on stdout when the daemon serves; `tp` waits for it.
pub const LISTENING: &str = "listening";
/// Said on stdout when another daemon is there already.
pub const TAKEN: &str = "taken";

/// Each connection is a descriptor, and so is each flow of UDP.
const DESCRIPTORS: u64 = 1 << 20;
/// Until tasks that still run are left behind.
const LAST_TASKS_WITHIN: Duration = Duration::from_millis(500);

/// Runs a daemon from its start as root to its end. What goes wrong before it serves is said on stdout, to `tp`; what
/// goes wrong later, in the log.
pub fn run<B: Backend>(owner: Account, log_level: &str, dataplane: Choice) -> ExitCode {
    abort_on_panic();
    match start::<B>(owner, log_level, dataplane) {
        Ok(Started::Served) => ExitCode::SUCCESS,
        Ok(Started::Taken) => {
            say(TAKEN);
            ExitCode::FAILURE
        }
        Err(failure) => {
            tracing::error!("{:#}", failure.error);
            say(&format!("{}\n\nhint: {}", failure.message(), failure.hint));
            ExitCode::FAILURE
        }
    }
}

enum Started {
    Served,
    Taken,
}

fn start<B: Backend>(owner: Account, log_level: &str, dataplane: Choice) -> Result<Started, Failure> {
    const DOING: &str = "starting the daemon";
    if !nix::unistd::geteuid().is_root() {
        let error = anyhow!("it must be started as root").context(DOING);
        return Err(Failure::new(error, "run `sudo tp connect`, which starts it"));
    }
    inherited::close();
    // Ours is a session of its own: neither the terminal's end nor its Ctrl-C concerns us. It fails only for a leader
    // of a process group, started by hand from a shell, who has asked for what he gets.
    let _ = nix::unistd::setsid();
    let notes = Arc::new(Mutex::new(Vec::new()));
    let mut log_file = logging::path(&owner);
    let log = match logging::open_as(&owner, &log_file) {
        Ok(log) => log,
        // an account without a home (a container's) is no reason not to serve it
        Err(error) => {
            note(&notes, format!("no log is written: {error:#}"));
            log_file = "/dev/null".into();
            LogFile::nowhere().or_hint(DOING, BUG)?
        }
    };
    logging::start(log, log_level)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), user = owner.name, uid = owner.uid, "starting");
    raise_descriptor_limit();
    std::env::set_current_dir("/").or_hint(DOING, BUG)?;

    let listener = match tp_proto::control::listen() {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Ok(Started::Taken),
        listener => listener.or_hint("opening the control socket", BUG)?,
    };
    let mut janitor = Janitor::start(&owner).or_hint(DOING, BUG)?;
    let backend = B::prepare(dataplane)?;
    for interface in backend.interfaces() {
        janitor.watch(interface).or_hint(DOING, BUG)?;
    }
    privileges::drop_to(&owner, |work| backend.in_other_threads(work)).or_hint(
        "giving up root",
        "the daemon needs to be started with all of root's capabilities; is this a container?",
    )?;
    tracing::info!("root is given up; CAP_NET_ADMIN is kept");

    // Its threads inherit what this one has become
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(tp_proto::workers())
        .enable_all()
        .build()
        .or_hint(DOING, BUG)?;
    tp_proto::memory::give_back();
    runtime.spawn(tp_proto::memory::give_back_when_quiet());
    let process = Process { owner, log_file, notes: Arc::clone(&notes) };
    runtime.block_on(async {
        let mut signals = Signals::install().or_hint(DOING, BUG)?;
        let control =
            Control::start(listener, backend, process).or_hint("serving the control socket", BUG)?;
        let mut janitors_end = janitor.end().or_hint(DOING, BUG)?;
        say(LISTENING);
        tokio::select! {
            () = control.ended() => {}
            signal = signals.quit() => tracing::info!("{signal}: quitting"),
            () = note_a_lost_janitor(&mut janitors_end, &notes) => {}
        }
        control.leave().await;
        janitor.dismiss(&mut janitors_end).await;
        control.finish().await;
        Ok(())
    })?;
    runtime.shutdown_timeout(LAST_TASKS_WITHIN);
    tracing::info!("the end");
    Ok(Started::Served)
}

const BUG: &str = "this is a bug; please report it with the daemon's log";

/// Never completes. We cannot start another janitor, which takes root. The next daemon removes what this one may leave.
async fn note_a_lost_janitor(end: &mut End, notes: &Mutex<Vec<String>>) {
    end.wait().await;
    let text = "the janitor was killed: should the daemon be killed too, the interface tpv may stay until the next \
                `tp connect`";
    note(notes, text.to_owned());
    std::future::pending::<()>().await;
}

/// Told by `tp status` from now on, and in the log.
fn note(notes: &Mutex<Vec<String>>, text: String) {
    tracing::warn!("{text}");
    notes.lock().unwrap_or_else(PoisonError::into_inner).push(text);
}

/// The last thing on our stdout, which is a pipe to `tp`.
fn say(text: &str) {
    // `tp` may have gone
    let _ = writeln!(io::stdout(), "{text}");
    match std::fs::File::options().write(true).open("/dev/null") {
        Ok(null) => {
            if let Err(error) = nix::unistd::dup2_stdout(&null) {
                tracing::warn!(%error, "stdout cannot be closed");
            }
        }
        Err(error) => tracing::warn!(%error, "stdout cannot be closed"),
    }
}

/// A daemon of which a part has died is worse than none: everything of ours goes with the process. Release builds abort
/// anyhow, the others shall not differ.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

/// As far as root may, or at least as far as the hard limit goes.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| {
        let most = hard.max(DESCRIPTORS);
        setrlimit(Resource::RLIMIT_NOFILE, most, most)
            .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, hard, hard))
    });
    if let Err(error) = raised {
        tracing::warn!(%error, "the number of open files stays limited");
    }
}
