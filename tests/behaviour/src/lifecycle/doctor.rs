//! `tp doctor` tells what a connect would do, and changes nothing.
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{OwnCase, as_before, look, sudo};
use crate::place::{Done, Place};
use crate::site::{Session, Site};
use crate::standalone::Standalone;
use crate::workstation::USER;

pub(super) const CASES: &[(&str, OwnCase)] = &[
    ("doctor_of_a_good_machine", good),
    ("doctor_sees_a_vpn_in_the_way", vpn),
    ("doctor_sees_that_the_name_of_the_tun_is_taken", name_taken),
    ("doctor_without_root_tries_less", without_root),
    ("doctor_while_connected", while_connected),
    ("doctor_sees_that_there_is_no_manager", no_manager),
    ("doctor_reads_the_configuration", configuration),
];

/// A report, and the exit code that goes with it.
#[derive(Debug)]
pub struct Report {
    code: Option<i32>,
    told: Value,
}

impl Report {
    /// Of a `tp doctor --output json`.
    pub fn read(done: &Done) -> Result<Self> {
        let told = serde_json::from_str(&done.stdout).with_context(|| format!("not JSON: {done:?}"))?;
        Ok(Self { code: done.code, told })
    }

    fn at(site: &Standalone, place: &Place, url: &str) -> Result<Self> {
        Self::read(&site.tp().run_at(place, &["doctor", "--manager", url, "--output", "json"])?)
    }

    fn of(site: &Standalone) -> Result<Self> {
        Self::at(site, &site.app(), site.join())
    }

    /// Verdict, text and hint of a check.
    pub fn check(&self, name: &str) -> Option<(&str, &str, &str)> {
        let check = self.told["checks"].as_array()?.iter().find(|check| check["name"] == name)?;
        Some((check["verdict"].as_str()?, check["says"].as_str()?, check["hint"].as_str().unwrap_or("")))
    }

    pub fn expect(&self, code: i32, checks: &[(&str, &str)]) -> Result<()> {
        for (name, verdict) in checks {
            let found = self.check(name).map(|(verdict, ..)| verdict);
            ensure!(found == Some(verdict), "{name} is {found:?}, not {verdict}: {:#}", self.told);
        }
        ensure!(self.code == Some(code), "ended with {:?}, not {code}: {:#}", self.code, self.told);
        ensure!(self.told["ok"] == (code == 0), "{:#}", self.told);
        Ok(())
    }
}

fn good(site: &Standalone) -> Result<()> {
    let before = look(site)?;
    let report = Report::at(site, &sudo(site), site.join())?;
    report.expect(
        0,
        &[
            ("root", "ok"),
            ("connection", "ok"),
            ("dataplane", "ok"),
            ("devices", "ok"),
            ("names", "ok"),
            ("DNS servers", "ok"),
            ("configuration", "ok"),
            ("traffic-manager", "ok"),
            ("routed", "ok"),
        ],
    )?;
    as_before(site, &before)?;
    // what it said is what happens
    let (_, routed, _) = report.check("routed").context("nothing would be routed")?;
    site.tp().connect(&[])?.success()?;
    let status = site.tp().status()?;
    let subnets: Vec<&str> =
        status["network"]["subnets"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    ensure!(subnets.join(", ") == routed, "doctor said {routed}, status says {subnets:?}");
    Ok(())
}

fn vpn(site: &Standalone) -> Result<()> {
    let ws = site.topology().ws();
    ws.ip("tuntap add vpn9 mode tun")?;
    let result = (|| {
        ws.ip("link set vpn9 up")?;
        ws.ip("route add 10.55.0.0/16 dev vpn9")?;
        let before = look(site)?;
        let resolved = Report::of(site)?;
        resolved.expect(0, &[("conflicts", "note"), ("virtual addresses", "ok")])?;
        with_config(site, "routing:\n  autoResolveConflicts: false\n", || {
            let report = Report::of(site)?;
            report.expect(1, &[("conflicts", "fail")])?;
            let (_, says, hint) = report.check("conflicts").context("no conflict")?;
            ensure!(says.contains("10.55.0.0/16") && says.contains("vpn9"), "{says}");
            ensure!(hint.contains("--allow-conflicting-subnets"), "{hint}");
            let said = site.tp().connect(&[])?.failure(1)?;
            ensure!(said.contains("vpn9"), "doctor and connect differ: {said}");
            Ok(())
        })?;
        as_before(site, &before)
    })();
    ws.ip("link del vpn9")?;
    result
}

fn name_taken(site: &Standalone) -> Result<()> {
    let ws = site.topology().ws();
    ws.ip("link add tp0 type bridge")?;
    let result = (|| {
        let report = Report::of(site)?;
        report.expect(1, &[("device tp0", "fail"), ("dataplane", "ok")])?;
        site.tp().connect(&[])?.failure(1).map(drop)
    })();
    ws.ip("link del tp0")?;
    result
}

fn without_root(site: &Standalone) -> Result<()> {
    let report = Report::at(site, &site.app().user(USER), site.join())?;
    report.expect(0, &[("root", "note"), ("traffic-manager", "ok"), ("routed", "ok")])?;
    ensure!(report.check("dataplane").is_none(), "{:#}", report.told);
    Ok(())
}

fn while_connected(site: &Standalone) -> Result<()> {
    site.tp().connect(&[])?.success()?;
    let before = look(site)?;
    let report = Report::of(site)?;
    report.expect(0, &[("connection", "note"), ("devices", "ok"), ("routed", "ok")])?;
    ensure!(report.check("conflicts").is_none(), "its own routes are in the way: {:#}", report.told);
    ensure!(before.difference(&look(site)?).is_empty(), "the connection is not as it was");
    super::reached(site)
}

fn no_manager(site: &Standalone) -> Result<()> {
    let report = Report::at(site, &site.app(), &site.join().replace(":7900", ":7999"))?;
    report.expect(1, &[("dataplane", "ok"), ("traffic-manager", "fail")])?;
    let malformed = Report::at(site, &site.app(), "http://192.0.2.1:7900")?;
    malformed.expect(1, &[("target", "fail")])
}

fn configuration(site: &Standalone) -> Result<()> {
    with_config(site, "routing:\n  neverProxySubnet: [10.55.0.0/24]\n", || {
        let report = Report::of(site)?;
        report.expect(1, &[("configuration", "fail")])?;
        let (_, says, hint) = report.check("configuration").context("no check")?;
        ensure!(says.contains("config.yml:2"), "{says}");
        ensure!(hint.contains("neverProxySubnets"), "{hint}");
        Ok(())
    })?;
    with_config(site, "routing:\n  neverProxySubnets: [10.55.0.0/24]\n", || {
        let report = Report::of(site)?;
        report.expect(0, &[("configuration", "ok")])?;
        let (_, routed, _) = report.check("routed").context("nothing would be routed")?;
        ensure!(routed.contains("10.55.1.0/24") && !routed.contains("10.55.0.0/"), "{routed}");
        Ok(())
    })
}

/// Runs something with this file as the user's configuration.
fn with_config(site: &Standalone, yaml: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
    let directory = site.dir().join(".config/tp");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("config.yml"), yaml)?;
    let result = run();
    fs::remove_file(directory.join("config.yml"))?;
    result
}
