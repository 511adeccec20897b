//! The configuration file: what it says holds, and what is wrong in it stops a connect before anything is changed.
use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{OwnCase, as_before, look};
use crate::site::{Session, Site};
use crate::standalone::Standalone;

pub(super) const CASES: &[(&str, OwnCase)] =
    &[("configuration_of_the_users_file_holds", holds), ("configuration_mistakes_change_nothing", mistakes)];

const FILE: &str = "$HOME/.config/tp/config.yml";
/// Nobody has it.
const ALSO: &str = "198.51.100.0/24";

/// The user's file for as long as this lives.
struct File<'a>(&'a Standalone);

impl<'a> File<'a> {
    fn write(site: &'a Standalone, text: &str) -> Result<Self> {
        let script = format!("mkdir -p $(dirname {FILE}) && printf %s \"$1\" > {FILE}");
        site.app().succeed(&["sh", "-c", &script, "sh", text])?;
        Ok(Self(site))
    }
}

impl Drop for File<'_> {
    fn drop(&mut self) {
        let _ = self.0.app().run(&["sh", "-c", &format!("rm -f {FILE}")]);
    }
}

fn holds(site: &Standalone) -> Result<()> {
    let before = look(site)?;
    let server = &site.facts().servers[0];
    let text = format!(
        "routing:\n  alsoProxySubnets: [{ALSO}]\n\
         dns:\n  mappings:\n  - {{name: mapped.example.com, aliasFor: '{server}'}}\n\
         logLevels: {{rootDaemon: debug}}\n"
    );
    let _file = File::write(site, &text)?;
    site.tp().connect(&["--never-proxy", "198.51.100.128/25"])?.success()?;
    let routes = site.app().succeed(&["ip", "route", "get", "198.51.100.1"])?;
    ensure!(routes.contains("tp0"), "the file's network is not routed: {routes}");
    let routes = site.app().run(&["ip", "route", "get", "198.51.100.200"])?;
    ensure!(!routes.stdout.contains("tp0"), "the flag's network is routed: {routes:?}");
    let url = "http://mapped.example.com:8080";
    site.app()
        .succeed(&["curl", "-sS", "--max-time", "10", url])
        .context("a name that the file gives an address")?;
    ensure!(site.tp().log().contains("DEBUG"), "the log does not tell more: {}", site.tp().log());

    let view = site.tp().run(&["config", "view", "--sources", "--output", "json"])?.success()?;
    let view: Value = serde_json::from_str(&view)?;
    let source = |pointer: &str| view.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let also = source("/routing/alsoProxySubnets/source");
    ensure!(also.ends_with("/.config/tp/config.yml:2"), "{also:?} in {view}");
    ensure!(source("/routing/neverProxySubnets/source") == "flag --never-proxy", "{view}");
    ensure!(source("/timeouts/endpointDial/source") == "default", "{view}");
    site.tp().quit()?;
    as_before(site, &before)
}

fn mistakes(site: &Standalone) -> Result<()> {
    let before = look(site)?;
    for (text, said) in [
        ("routing:\n  alsoProxySubnet: []\n", "config.yml:2:3: `routing.alsoProxySubnet` is not a key"),
        ("timeouts: {endpointDial: soon}\n", "config.yml:1:26: `timeouts.endpointDial` must be a duration"),
        ("dns: [\n", "cannot be read as YAML"),
    ] {
        let _file = File::write(site, text)?;
        let done = site.tp().connect(&[])?;
        ensure!(done.code == Some(1), "{done:?}");
        ensure!(done.stderr.contains(said) && done.stderr.contains("\nhint: "), "{}", done.stderr);
        as_before(site, &before)?;
    }
    Ok(())
}
