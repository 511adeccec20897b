//! What a `tp connect` asks for.

use std::net::IpAddr;

use anyhow::anyhow;
use tp_core::config::Config;
use tp_core::conflicts::CommandLine;
use tp_core::join::{JoinUrl, Security};
use tp_proto::daemon::connect_request::Target as Wire;
use tp_proto::daemon::{ConnectRequest, KubeTarget};

use crate::config::Sources;
use crate::failure::{Failure, OrHint};
use crate::kube;
use crate::session::{Options, Status, Target};

/// Reads the files that configure it: to be called as the invoking user.
pub(crate) async fn options(request: ConnectRequest) -> Result<Options, Failure> {
    let sources = Sources::load(&request).await?;
    let command = command_line(&request);
    let target = match request.target {
        Some(Wire::ManagerUrl(url)) => Target::Direct(join_url(&url, request.insecure_plaintext)?),
        Some(Wire::Kube(target)) => Target::Kube(Box::new(configured(target, &sources.config()))),
        None => Target::Kube(Box::new(configured(KubeTarget::default(), &sources.config()))),
    };
    let namespace = (!request.namespace.is_empty()).then_some(request.namespace);
    Ok(Options { target, namespace, client_name: client_name(), command, sources })
}

/// What flags left open is as configured.
fn configured(mut target: KubeTarget, config: &Config) -> KubeTarget {
    if target.manager_namespace.is_empty() {
        target.manager_namespace = config.cluster.manager_namespace.clone().unwrap_or_default();
    }
    if target.request_timeout_ms == 0 {
        let millis = config.timeouts.cluster_connect.as_millis();
        target.request_timeout_ms = u64::try_from(millis).unwrap_or(u64::MAX);
    }
    target
}

/// What to type for this very connection, without what must not be shown again.
pub(crate) fn command_line(request: &ConnectRequest) -> CommandLine {
    let mut command = CommandLine::default().0;
    let mut flag = |name: &str, value: &str| {
        if !value.is_empty() {
            command.push_str(&format!(" --{name} {value}"));
        }
    };
    match &request.target {
        Some(Wire::ManagerUrl(_)) => flag("manager", "URL"),
        Some(Wire::Kube(target)) => {
            flag("context", &target.context);
            flag("manager-namespace", &target.manager_namespace);
        }
        None => {}
    }
    flag("namespace", &request.namespace);
    CommandLine(command)
}

/// The flags that say how networks are routed.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Flags([Vec<String>; 5]);

impl Flags {
    pub(super) fn of(request: &ConnectRequest) -> Self {
        let ConnectRequest { also_proxy, never_proxy, allow_conflicting_subnets, proxy_via, vnat, .. } =
            request.clone();
        Self([also_proxy, never_proxy, allow_conflicting_subnets, proxy_via, vnat])
    }

    /// Nothing in particular is asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(Vec::is_empty)
    }
}

/// The daemon chose its dataplane when it was root; nobody can have another one now.
pub(super) fn same_dataplane(request: &ConnectRequest, here: &str) -> Result<(), Failure> {
    match request.dataplane.as_str() {
        "" | "auto" => Ok(()),
        asked if asked == here => Ok(()),
        asked => Err(Failure::new(
            anyhow!(
                "the daemon that runs uses the {here} dataplane, and not the {asked} one that you ask for"
            ),
            "leave it first: tp quit",
        )),
    }
}

/// Whether `request` means the connection that there is. One that names nothing at all does.
pub(super) async fn means(request: &ConnectRequest, now: &Status) -> Result<bool, Failure> {
    let same_namespace = request.namespace.is_empty() || request.namespace == now.namespace;
    match &request.target {
        Some(Wire::ManagerUrl(url)) => {
            let url = join_url(url, request.insecure_plaintext)?;
            Ok(same_namespace && now.context.is_empty() && url.address() == now.server)
        }
        Some(Wire::Kube(target)) if *target != KubeTarget::default() => {
            let loaded = kube::resolve(target).await?;
            let same_manager =
                target.manager_namespace.is_empty() || target.manager_namespace == now.manager_namespace;
            Ok(same_namespace && same_manager && loaded.context == now.context && loaded.server == now.server)
        }
        Some(Wire::Kube(_)) | None => Ok(same_namespace),
    }
}

fn join_url(text: &str, plaintext_is_meant: bool) -> Result<JoinUrl, Failure> {
    let url: JoinUrl = text.parse().or_hint(
        "reading the join URL of --manager",
        "copy it as the manager printed it: tp://TOKEN@HOST:PORT?pin=sha256:…",
    )?;
    if url.security == Security::Plaintext && !plaintext_is_meant && !is_loopback(&url.host) {
        return Err(Failure::new(
            anyhow!(
                "{} is not on this machine, and tp+plain:// sends the token and all traffic in the clear",
                url.host
            )
            .context("reading the join URL of --manager"),
            "use the manager's tp:// URL; on a network made for tests, add --insecure-plaintext",
        ));
    }
    Ok(url)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// `user@host`, as the manager lists us.
fn client_name() -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| nix::unistd::getuid().to_string());
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    format!("{user}@{}", host.as_deref().unwrap_or("workstation"))
}
