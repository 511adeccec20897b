//! The daemon's log: one file of the invoking user, the previous one kept beside it.

mod file;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result};
use tp_core::config::Config;
use tp_core::invoker::Account;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::failure::{Failure, OrHint};
pub use file::LogFile;

/// The level can be changed while the daemon runs.
static LEVEL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Where the log of `account`'s daemon is. `XDG_CACHE_HOME` is theirs already: `tp` sees to that.
pub fn path(account: &Account) -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    cache.unwrap_or_else(|| Path::new(&account.home).join(".cache")).join("tp/logs/daemon.log")
}

/// Everything that is said from now on goes into the file, also by a panic. `level` is `info`, or what
/// [`EnvFilter`] understands.
pub fn start(file: LogFile, level: &str) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(level)
        .or_hint(format!("reading --log-level {level}"), "give one of error, warn, info, debug, trace")?;
    file.become_stderr().or_hint("redirecting stderr into the log", "this is a bug; please report it")?;
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(file);
    tracing_subscriber::registry().with(filter).with(lines).init();
    // another call would be another log, of which there is none
    let _ = LEVEL.set(handle);
    Ok(())
}

/// From now on the level is the configured one.
pub fn follow(config: &Config) {
    let level = config.log_levels.daemon.as_str();
    let Some(handle) = LEVEL.get() else { return };
    let set =
        EnvFilter::try_new(level).map_err(anyhow::Error::from).and_then(|filter| Ok(handle.reload(filter)?));
    match set {
        Ok(()) => tracing::info!(level, "log level"),
        Err(error) => tracing::warn!(level, %error, "the log level cannot be set"),
    }
}

/// Opens the log while still root, but with the user's rights: the directory is theirs, and so may be what they put
/// there in place of the file.
pub fn open_as(account: &Account, path: &Path) -> Result<LogFile> {
    use nix::unistd::{Gid, Uid, setegid, seteuid};
    let opened = {
        setegid(Gid::from_raw(account.gid)).context("opening the log as the user")?;
        seteuid(Uid::from_raw(account.uid)).context("opening the log as the user")?;
        let opened = LogFile::open(path);
        seteuid(Uid::from_raw(0)).context("becoming root again")?;
        setegid(Gid::from_raw(0)).context("becoming root again")?;
        opened
    };
    opened.with_context(|| format!("opening the log {}", path.display()))
}
