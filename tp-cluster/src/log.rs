//! Log lines on stderr, with a level that can be changed while running.

use std::io::IsTerminal;
use std::time::Duration;

use tokio::sync::watch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// Changes the level of the running program.
#[derive(Clone, Debug)]
pub struct LevelHandle {
    filter: Option<reload::Handle<EnvFilter, tracing_subscriber::Registry>>,
    initial: String,
    /// Each change counts one up, so that a temporary level does not end a later one.
    changes: watch::Sender<u64>,
}

/// Starts logging. An unknown level is `info`: a typo in a chart's values must not keep the manager from starting.
pub fn init(level: &str) -> LevelHandle {
    let (filter, handle) = reload::Layer::new(filter(level));
    let started = tracing_subscriber::registry()
        .with(filter)
        .with(
            tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(std::io::stderr().is_terminal()),
        )
        .try_init();
    LevelHandle {
        filter: started.is_ok().then_some(handle),
        initial: level.to_owned(),
        changes: watch::Sender::new(0),
    }
}

impl LevelHandle {
    /// For tests, where several managers share one process: changes nothing.
    pub fn inert() -> Self {
        Self { filter: None, initial: "info".into(), changes: watch::Sender::new(0) }
    }

    /// Sets the level, or resets it if `level` is empty; with a duration, only for that long.
    pub fn set(&self, level: &str, duration: Option<Duration>) {
        self.apply(level);
        let mut change = 0;
        self.changes.send_modify(|changes| {
            *changes += 1;
            change = *changes;
        });
        let Some(duration) = duration.filter(|duration| !duration.is_zero()) else { return };
        let handle = self.clone();
        tokio::spawn(async move {
            let mut changes = handle.changes.subscribe();
            let superseded = async { changes.wait_for(|latest| *latest != change).await.is_ok() };
            if tokio::time::timeout(duration, superseded).await.is_err() {
                handle.apply("");
            }
        });
    }

    fn apply(&self, level: &str) {
        let level = if level.is_empty() { &self.initial } else { level };
        if let Some(handle) = &self.filter {
            // fails only if the subscriber is gone, and then nobody reads the log
            let _ = handle.reload(filter(level));
        }
        tracing::info!(level, "log level");
    }
}

/// Our own crates at `level`; the libraries below only when something is wrong, their debug lines are of no use here.
fn filter(level: &str) -> EnvFilter {
    let level = match level.to_ascii_lowercase().as_str() {
        "error" | "fatal" | "panic" => "error",
        "warn" | "warning" => "warn",
        "debug" => "debug",
        "trace" => "trace",
        _ => "info",
    };
    // a watch that is refused is told by us, in better words
    EnvFilter::new(format!("warn,kube_runtime=error,tp_cluster={level},tp_proto={level},tp_core={level}"))
}
