//! The order of the e2e suite: our own manager, what only a cluster can show, the chart, and a manager that is not ours.
use std::sync::Arc;

use anyhow::Result;
use libtest_mimic::Trial;
use tests_behaviour::runner::trial;
use tests_behaviour::site::{Session, Site};
use tests_behaviour::stage::Stage;
use tests_behaviour::{lifecycle, subject};

use crate::site::Kube;
use crate::{agent_cases, chart_cases, cluster_cases, doctor_cases, foreign};

pub type Case = fn(&Kube) -> Result<()>;

/// How our manager is installed in the lab: its image is on the node.
pub const IMAGE: [&str; 4] = ["--set", "image.registry=lab.local", "--set", "image.pullPolicy=Never"];

pub fn build() -> Result<(subject::Owner, Vec<Trial>)> {
    if std::env::var("TP_SUBJECT").is_ok_and(|subject| subject == "native") {
        return native();
    }
    let stage = Stage::new(&["tp", "tp-daemon", "tp-probe", "static/tp-traffic", "static/tp-probe"])?;
    let site = Arc::new(Kube::new(&stage)?);
    let mut trials = cases(&site, &[("helm_install", install)]);
    trials.extend(cases(&site, cluster_cases::BEFORE));
    trials.extend(cases(&site, doctor_cases::CASES));
    trials.extend(subject::trials_on(&site, Kube::ensure_connected));
    trials.extend(cases(&site, cluster_cases::CONNECTED));
    trials.extend(cases(&site, agent_cases::CASES));
    trials.extend(lifecycle::trials(&site));
    trials.extend(cases(&site, chart_cases::CASES));
    trials.extend(foreign::trials(&site));
    Ok((Box::new((site, stage)), trials))
}

/// The common cases by plain routing, to prove them.
fn native() -> Result<(subject::Owner, Vec<Trial>)> {
    let stage = Stage::new(&["tp-probe", "static/tp-probe"])?;
    let mut site = Kube::new(&stage)?;
    site.open_the_wall()?;
    let site = Arc::new(site);
    let trials = subject::trials_on(&site, |_| Ok(()));
    Ok((Box::new((site, stage)), trials))
}

/// Trials that bring the site into the state they need themselves.
pub fn cases(site: &Arc<Kube>, all: &[(&'static str, Case)]) -> Vec<Trial> {
    let one = |(name, case): &(&'static str, Case)| {
        let (site, case) = (site.clone(), *case);
        trial(format!("kube_{name}"), move || case(&site))
    };
    all.iter().map(one).collect()
}

/// Our own manager, by `tp helm install`; unless it is there already.
pub fn install(site: &Kube) -> Result<()> {
    let mut words = vec!["helm", "install", "--timeout", "90s"];
    words.extend(IMAGE);
    site.administer(&words).map(drop)
}

/// The laptop has no way of its own to the cluster: what then works is tp's doing.
pub fn walled_off(site: &Kube) -> Result<()> {
    let url = format!("http://{}:8080", site.facts().servers[1]);
    let done = site.app().run(&["curl", "-sS", "--max-time", "2", &url])?;
    anyhow::ensure!(done.code != Some(0), "the laptop reaches the cluster without tp: {done:?}");
    Ok(())
}
