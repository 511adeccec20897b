//! `tp helm`: the cluster side, installed by the same chart and with the same records as helm's, without helm.
//!
//! helm 3 and `tp` may take turns on one release. Absent: hooks, rollback, other charts.

mod access;
mod chart;
mod cluster;
mod history;
mod install;
mod manifest;
mod merge;
mod release;
mod rollout;
mod session;
mod template;
mod ui;
mod uninstall;
mod values;
mod yaml;

use crate::{
    kube_flags::{KubeFlags, parse_duration},
    report::with_hint,
};
use anyhow::{Result, anyhow};
use clap::{ArgAction, Args, Subcommand};
use std::time::Duration;
use ui::Ui;
use values::ValueFlags;

/// The namespace of the manager when nobody names one: Telepresence's, so that its clients and ours look in one place.
pub const DEFAULT_MANAGER_NAMESPACE: &str = "ambassador";

/// What names another manager namespace, for us as for Telepresence.
const NAMESPACE_VARIABLE: &str = "TELEPRESENCE_MANAGER_NAMESPACE";

#[derive(Args, Clone, Debug)]
pub struct HelmArgs {
    #[command(subcommand)]
    command: HelmCommand,
}

#[derive(Subcommand, Clone, Debug)]
enum HelmCommand {
    /// Install the traffic-manager into the cluster
    Install {
        #[command(flatten)]
        values: ValueFlags,
        #[command(flatten)]
        how: HowFlags,
    },
    /// Change the version or the values of the installed traffic-manager
    Upgrade {
        #[command(flatten)]
        values: ValueFlags,
        /// Start from the values of the installed revision [default when no value is given]
        #[arg(long, conflicts_with = "reset_values")]
        reuse_values: bool,
        /// Start from the chart's default values [default when a value is given]
        #[arg(long)]
        reset_values: bool,
        /// Install it if it is not there
        #[arg(short, long, help_heading = "Installation")]
        install: bool,
        #[command(flatten)]
        how: HowFlags,
    },
    /// Remove the traffic-manager from the cluster
    Uninstall {
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the objects that an install would create
    Template {
        #[command(flatten)]
        values: ValueFlags,
    },
    /// Print the chart's values with their defaults and meaning
    Values,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Installation")]
struct HowFlags {
    /// Create the namespace if it is missing
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    create_namespace: bool,
    /// Wait until the traffic-manager runs
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    wait: bool,
    /// Wait no longer than this
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
    timeout: Duration,
    /// Say what would be done and print the objects, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs one command of `tp helm`.
pub async fn run(args: HelmArgs, kube: KubeFlags) -> Result<()> {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let ui = Ui { out: &mut out, err: &mut err };
    execute(args, async || kube.client().await, namespace_of(&kube)?, ui).await
}

async fn execute(
    args: HelmArgs,
    client: impl AsyncFnOnce() -> Result<kube::Client>,
    namespace: String,
    mut ui: Ui<'_>,
) -> Result<()> {
    let chart = chart::Chart::load()?;
    let (wait, dry_run) = match &args.command {
        HelmCommand::Template { values } => {
            let occasion = chart::Occasion { namespace: &namespace, revision: 1 };
            ui.print(&chart.render(&values.read()?, occasion)?.manifest)?;
            return Ok(());
        }
        HelmCommand::Values => {
            ui.print(chart::default_values())?;
            return Ok(());
        }
        HelmCommand::Install { how, .. } | HelmCommand::Upgrade { how, .. } => {
            (how.wait.then_some(how.timeout), how.dry_run)
        }
        HelmCommand::Uninstall { dry_run } => (None, *dry_run),
    };
    let cluster = cluster::Cluster::new(client().await?);
    let mut session = session::Session { cluster, chart, namespace, ui, wait, dry_run };
    match args.command {
        HelmCommand::Install { values, how } => {
            install::install(&mut session, &values, how.create_namespace).await
        }
        HelmCommand::Upgrade { values, reuse_values, reset_values, install, how } => {
            let base = match (reuse_values, reset_values) {
                (true, _) => install::Base::Reuse,
                (_, true) => install::Base::Reset,
                _ => install::Base::Auto,
            };
            install::upgrade(&mut session, &values, base, install, how.create_namespace).await
        }
        HelmCommand::Uninstall { .. } => uninstall::uninstall(&mut session).await,
        HelmCommand::Template { .. } | HelmCommand::Values => Ok(()),
    }
}

/// Where the manager lives: `-n`, the environment, or the default.
fn namespace_of(kube: &KubeFlags) -> Result<String> {
    let from_environment = || std::env::var(NAMESPACE_VARIABLE).ok().filter(|name| !name.is_empty());
    let name = kube
        .namespace
        .clone()
        .or_else(from_environment)
        .unwrap_or_else(|| DEFAULT_MANAGER_NAMESPACE.to_owned());
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.len() <= 63 && name.starts_with(ends) && name.ends_with(ends) && name.chars().all(fits) {
        return Ok(name);
    }
    Err(with_hint(
        anyhow!("`{name}` cannot be the name of a namespace"),
        "a namespace is up to 63 small letters, digits and dashes",
    ))
}

#[cfg(test)]
mod tests;
