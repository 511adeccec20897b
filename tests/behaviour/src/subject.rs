//! What is tested is chosen at run time, by `TP_SUBJECT`.
use std::sync::Arc;

use anyhow::{Result, bail};
use libtest_mimic::Trial;

use crate::native::Native;
use crate::runner::trial;
use crate::site::{Session, Site};
use crate::stage::Stage;
use crate::standalone::Standalone;
use crate::{cases, lifecycle};

/// Whatever must be dropped after the last trial.
pub type Owner = Box<dyn Send>;

pub fn build() -> Result<(Owner, Vec<Trial>)> {
    match std::env::var("TP_SUBJECT").as_deref().unwrap_or("tp") {
        "native" => {
            let stage = Stage::new(&["tp-probe"])?;
            let site = Arc::new(Native::new(&stage)?);
            let trials = trials_on(&site, |_| Ok(()));
            Ok((Box::new((site, stage)), trials))
        }
        "tp" => {
            let stage = Stage::new(&["tp", "tp-daemon", "tp-traffic", "tp-probe"])?;
            let site = Arc::new(Standalone::new(&stage)?);
            let mut trials = trials_on(&site, Session::ensure_connected);
            trials.extend(lifecycle::trials(&site));
            trials.extend(lifecycle::own_trials(&site));
            Ok((Box::new((site, stage)), trials))
        }
        "tp-userspace" => {
            let stage = Stage::new(&["tp", "tp-daemon", "tp-traffic", "tp-probe"])?;
            let site = Arc::new(Standalone::with(&stage, &["--dataplane", "userspace"])?);
            let mut trials = trials_on(&site, Session::ensure_connected);
            trials.extend(lifecycle::trials(&site));
            trials.extend(lifecycle::own_trials(&site));
            Ok((Box::new((site, stage)), trials))
        }
        other => bail!("TP_SUBJECT={other} is not known\n\nhint: native, tp or tp-userspace"),
    }
}

/// The common cases; `prepare` runs before each.
pub fn trials_on<S: Site + Send + Sync + 'static>(
    site: &Arc<S>,
    prepare: fn(&S) -> Result<()>,
) -> Vec<Trial> {
    let one = |(name, case): (&'static str, cases::Case)| {
        let site = site.clone();
        trial(name, move || {
            prepare(&site)?;
            case(site.as_ref())
        })
    };
    cases::all().into_iter().map(one).collect()
}
