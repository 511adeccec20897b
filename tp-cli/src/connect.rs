//! `tp connect`: starts the daemon if there is none, follows it until the connection stands, and for `-- CMD` lasts as
//! long as the command.

mod command;
mod request;
mod routing_flags;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::Args;
use nix::sys::signal::Signal;
use serde::Serialize;
use tonic::Status;
use tp_proto::daemon::connect_event::Event;
use tp_proto::daemon::{ConnectRequest, StatusReply};

use crate::daemon::{self, Daemon, is_gone, rpc_error};
use crate::invoker;
use crate::kube_flags::KubeFlags;
use crate::output::Output;
use crate::progress::Progress;
use crate::report::with_hint;
use crate::signals::Signals;
use crate::status::View;
use routing_flags::RoutingFlags;

#[derive(Args, Clone, Debug)]
pub struct ConnectArgs {
    /// Connect to a manager directly, by the join URL it printed: tp://TOKEN@HOST:PORT?pin=sha256:HEX
    #[arg(long, value_name = "URL", env = "TP_MANAGER", hide_env_values = true)]
    manager: Option<String>,
    /// Allow a tp+plain:// URL, which is not encrypted, on a network made for tests
    #[arg(long, requires = "manager", hide_short_help = true)]
    insecure_plaintext: bool,
    /// Namespace of the traffic-manager [default: where it is found, first in `ambassador`]
    #[arg(long, value_name = "NAME", env = "TELEPRESENCE_MANAGER_NAMESPACE", hide_env_values = true)]
    manager_namespace: Option<String>,
    /// What the daemon writes to its log: error, warn, info, debug or trace
    ///
    /// [default: `logLevels.rootDaemon` of the configuration, or info]
    #[arg(long, value_name = "LEVEL", hide_short_help = true)]
    log_level: Option<String>,
    /// What moves the packets: the kernel (ebpf), this machine's user space, or the first of them that can be had (auto)
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "WHICH",
        env = "TP_DATAPLANE",
        hide_env_values = true
    )]
    dataplane: Choice,
    /// Run this command while connected, as the invoking user; disconnect when it ends
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
    #[command(flatten)]
    routing: RoutingFlags,
    #[command(flatten)]
    kube: KubeFlags,
}

/// Of the dataplanes.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default)]
enum Choice {
    #[default]
    Auto,
    Ebpf,
    Userspace,
    /// For comparison only.
    #[value(name = "userspace-1500", hide = true)]
    Userspace1500,
}

impl Choice {
    /// As the daemon takes it.
    fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Ebpf => "ebpf",
            Self::Userspace => "userspace",
            Self::Userspace1500 => "userspace-1500",
        }
    }
}

/// What is printed on stdout with `--output json`.
#[derive(Debug, Serialize)]
struct Connected {
    /// It was connected before.
    already: bool,
    #[serde(flatten)]
    status: View,
}

const DOING: &str = "connecting";

/// How waiting for the connection ended.
enum Outcome {
    Connected {
        status: Box<StatusReply>,
        already: bool,
    },
    Failed(anyhow::Error),
    Interrupted(Signal),
    /// It was about to end, or being killed, when we came: it has told us nothing.
    Ending,
}

pub async fn run(args: ConnectArgs, output: Output) -> Result<ExitCode> {
    let account = invoker::account()?;
    let request = request::from(&args)?;
    let mut signals = Signals::install()?;
    let mut progress = Progress::new();
    let mut started = false;
    let (daemon, status, already) = loop {
        let Some(mut daemon) = daemon::find().await? else {
            daemon::needs_root()?;
            progress.step("daemon", "starting it");
            started =
                daemon::start(&account, args.log_level.as_deref().unwrap_or("info"), args.dataplane.word())
                    .await?;
            continue;
        };
        match follow(&mut daemon, request.clone(), &mut progress, &mut signals).await {
            Outcome::Connected { status, already } => break (daemon, status, already),
            Outcome::Ending if started => return Err(rpc_error(DOING, &Status::unavailable(""))),
            Outcome::Ending => daemon.gone().await?,
            Outcome::Failed(error) => {
                progress.fail();
                // ours ends now; one that somebody else started is theirs to wait for
                if started {
                    daemon.gone().await?;
                }
                return Err(error);
            }
            Outcome::Interrupted(signal) => {
                progress.fail();
                eprintln!("interrupted: nothing is left behind");
                if started {
                    daemon.gone().await?;
                }
                return Ok(command::code_of_signal(signal));
            }
        }
    };
    progress.succeed();
    let told = Connected { already, status: View::from(*status) };
    eprintln!("{}", told.sentence());
    if !already {
        for note in told.status.notes_on_connect() {
            eprintln!("note: {note}");
        }
    }
    if args.command.is_empty() {
        if output == Output::Json {
            output.print(&told, |_| String::new())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let code = command::run(&args.command, &account, &mut signals).await;
    if !already {
        crate::quit::leave(daemon).await?;
    }
    code
}

/// Asks for the connection and shows the steps towards it. Going away cancels what we started.
async fn follow(
    daemon: &mut Daemon,
    request: ConnectRequest,
    progress: &mut Progress,
    signals: &mut Signals,
) -> Outcome {
    let mut events = tokio::select! {
        events = daemon.client.connect(request) => match events {
            Ok(events) => events.into_inner(),
            Err(status) if is_gone(&status) => return Outcome::Ending,
            Err(status) => return Outcome::Failed(rpc_error(DOING, &status)),
        },
        signal = signals.stop() => return Outcome::Interrupted(signal),
    };
    let mut heard = false;
    loop {
        let message = tokio::select! {
            message = events.message() => message,
            signal = signals.stop() => return Outcome::Interrupted(signal),
        };
        let event = match message {
            Ok(Some(event)) => event,
            Ok(None) => return Outcome::Failed(rpc_error(DOING, &Status::unavailable(""))),
            Err(status) if is_gone(&status) && !heard => return Outcome::Ending,
            Err(status) => return Outcome::Failed(rpc_error(DOING, &status)),
        };
        heard = true;
        match event.event {
            Some(Event::Step(step)) => progress.step(&step.name, &step.detail),
            Some(Event::Connected(status)) => {
                return Outcome::Connected { status: Box::new(status), already: event.already };
            }
            Some(Event::Failed(failure)) => {
                let error = anyhow!(failure.message);
                return Outcome::Failed(if failure.hint.is_empty() {
                    error
                } else {
                    with_hint(error, failure.hint)
                });
            }
            None => {}
        }
    }
}

impl ConnectArgs {
    /// What these flags ask the daemon for.
    pub(crate) fn request(&self) -> Result<ConnectRequest> {
        request::from(self)
    }

    /// Whether a command is to run while connected.
    pub(crate) fn has_command(&self) -> bool {
        !self.command.is_empty()
    }
}

impl Connected {
    fn sentence(&self) -> String {
        let already = if self.already { "already connected" } else { "connected" };
        format!("{already} to {}", self.status.target())
    }
}
