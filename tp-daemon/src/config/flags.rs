//! The settings that `tp connect` was given as flags. `tp` has checked them; another program may not have.

use std::fmt::Display;
use std::str::FromStr;

use anyhow::anyhow;
use ipnet::IpNet;
use tp_core::config::{Flags, Layer};
use tp_core::routing::ProxyVia;
use tp_proto::daemon::ConnectRequest;
use tp_proto::daemon::connect_request::Target;

use super::DOING;
use crate::failure::Failure;

pub(super) fn layer(request: &ConnectRequest) -> Result<Layer, Failure> {
    let manager_namespace = match &request.target {
        Some(Target::Kube(target)) => Some(target.manager_namespace.clone()),
        Some(Target::ManagerUrl(_)) | None => None,
    };
    Ok(Layer::of_flags(&Flags {
        also_proxy: subnets("--also-proxy", &request.also_proxy)?,
        never_proxy: subnets("--never-proxy", &request.never_proxy)?,
        allow_conflicting: subnets("--allow-conflicting-subnets", &request.allow_conflicting_subnets)?,
        proxy_via: each("--proxy-via", &request.proxy_via, ProxyVia::from_str)?,
        vnat: each("--vnat", &request.vnat, ProxyVia::vnat)?,
        manager_namespace: manager_namespace.filter(|namespace| !namespace.is_empty()),
        log_level: Some(request.log_level.clone()).filter(|level| !level.is_empty()),
    }))
}

fn subnets(flag: &str, texts: &[String]) -> Result<Vec<IpNet>, Failure> {
    let subnet = |text: &str| {
        text.parse::<IpNet>().map(|net| net.trunc()).map_err(|error| format!("{text:?}: {error}"))
    };
    each(flag, texts, subnet)
}

fn each<T, E: Display>(
    flag: &str,
    texts: &[String],
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, Failure> {
    let read = |text: &String| {
        read(text).map_err(|error| {
            let error = anyhow!("{flag}: {error}").context(DOING);
            Failure::new(error, "see `tp connect --help`")
        })
    };
    texts.iter().map(read).collect()
}
