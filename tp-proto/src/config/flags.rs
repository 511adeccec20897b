//! The settings that `tp connect` was given as flags. `tp` has checked them; another program may not have.

use std::fmt::Display;
use std::str::FromStr;

use ipnet::IpNet;
use tp_core::config::{ConfigError, Flags, Layer, Source};
use tp_core::routing::ProxyVia;

use crate::daemon::ConnectRequest;
use crate::daemon::connect_request::Target;

pub(super) fn layer(request: &ConnectRequest) -> Result<Layer, ConfigError> {
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

fn subnets(flag: &str, texts: &[String]) -> Result<Vec<IpNet>, ConfigError> {
    let subnet = |text: &str| {
        text.parse::<IpNet>().map(|net| net.trunc()).map_err(|error| format!("{text:?}: {error}"))
    };
    each(flag, texts, subnet)
}

fn each<T, E: Display>(
    flag: &str,
    texts: &[String],
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, ConfigError> {
    let unreadable = |error: E| {
        let source = Source::Flag(flag.to_owned());
        ConfigError::unreadable(source, error.to_string(), "`tp connect --help` tells what it takes")
    };
    texts.iter().map(|text| read(text).map_err(unreadable)).collect()
}
