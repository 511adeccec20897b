//! The subjects take turns: every case of a round is measured for all of them within seconds, so that what the machine does
//! besides disturbs all alike.
use super::load;
use super::metrics::{Case, METRICS};
use super::run::Run;
use super::subjects::Site;

/// Reaches every subject once. Those that cannot be reached are told and left out.
pub(crate) fn warm_up(site: &mut Site, run: &mut Run) {
    let (name, programs) = (site.name, site.programs.clone());
    site.subjects.retain(|subject| match load::bench(&programs, subject, "round-trip", 0.2) {
        Ok(_) => true,
        Err(error) => {
            run.fail(format!("{name}, {}: {error:#}", subject.name));
            false
        }
    });
}

/// One round of these cases.
pub(crate) fn round(site: &Site, cases: &[Case], seconds: f64, run: &mut Run) {
    for case in cases.iter().copied().filter(|case| case.takes_turns()) {
        let mut shown = Vec::new();
        for subject in site.subjects.iter().filter(|subject| subject.can(case)) {
            match load::measure(&site.programs, subject, case, seconds) {
                Ok(measured) => {
                    for (metric, value) in &measured.values {
                        run.add(site.name, subject.name, metric, *value);
                    }
                    shown.extend(measured.values.first().map(|(m, value)| show(subject.name, m, *value)));
                    if let Some(said) = measured.complaint {
                        run.fail(format!("{}, {}, {}: {said}", site.name, subject.name, case.name()));
                    }
                }
                Err(error) => {
                    shown.push(format!("{} failed", subject.name));
                    run.fail(format!("{}, {}, {}: {error:#}", site.name, subject.name, case.name()));
                }
            }
        }
        if !shown.is_empty() {
            eprintln!("  {:<15} {}", case.name(), shown.join("   "));
        }
    }
}

fn show(subject: &str, metric: &str, value: f64) -> String {
    let known = METRICS.iter().find(|known| known.id == metric);
    let figure =
        known.map_or_else(|| value.to_string(), |m| format!("{} {}", m.unit.show(value), m.unit.name()));
    format!("{subject} {figure}")
}
