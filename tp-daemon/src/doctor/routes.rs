//! A dry run: the manager is asked for its networks, and they are planned against this machine's.

use std::net::IpAddr;

use tp_core::doctor::{self, Check, Stage};
use tp_core::machine::Machine;
use tp_core::routes::{Own, plan};

use crate::kube::Guess;
use crate::machine::OURS;
use crate::session::{self, Options, Survey};

pub(super) async fn check(options: &Options, machine: Option<&Machine>, checks: &mut Vec<Check>) {
    let survey = match session::survey(options).await {
        Ok(survey) => survey,
        Err(failure) => {
            checks.push(super::failed(Stage::Manager, "traffic-manager", failure));
            return;
        }
    };
    checks.push(version(&survey));
    if !survey.notes.is_empty() {
        let says = survey.notes.join("\n");
        let hint = "correct the values `client.*` of the manager's chart; until then they are left out";
        checks.push(Check::note(Stage::Manager, "client configuration", says, hint));
    }
    if let Some(machine) = machine {
        let plan = plan(&survey.view, &survey.routing, machine, &own(&survey.transport, machine));
        checks.extend(doctor::routes(&plan, &options.command));
    }
}

/// The same with what a cluster tells without a manager.
pub(super) fn guess(options: &Options, machine: Option<&Machine>, guess: Option<&Guess>) -> Vec<Check> {
    let (Some(machine), Some(guess)) = (machine, guess) else { return Vec::new() };
    let routing = options.sources.config().routing;
    let plan = plan(&guess.view, &routing, machine, &own(&guess.transport, machine));
    doctor::guessed(&plan, &options.command)
}

/// A connection that stands is not in its own way.
fn own(transport: &[IpAddr], machine: &Machine) -> Own {
    let ours = machine.links.iter().filter(|link| OURS.contains(&link.name.as_str()));
    Own::of(transport, ours.map(|link| link.index).collect(), machine)
}

/// Ours comes from the same source; Telepresence's is known from 2.20 on.
fn version(survey: &Survey) -> Check {
    let name = "traffic-manager";
    let (title, number) = survey.manager.rsplit_once(' ').unwrap_or((&survey.manager, ""));
    let number = number.trim_start_matches('v');
    let own = env!("CARGO_PKG_VERSION");
    if title.contains("(tp)") {
        return if number == own {
            Check::ok(Stage::Manager, name, &survey.manager)
        } else {
            let hint = "`tp helm upgrade` brings the manager to the version of tp";
            Check::note(Stage::Manager, name, format!("{}, while tp is {own}", survey.manager), hint)
        };
    }
    let numbers: Vec<u64> = number.split(['.', '-', '+']).map_while(|number| number.parse().ok()).collect();
    if numbers.first() == Some(&2) && numbers.get(1) >= Some(&20) {
        Check::ok(Stage::Manager, name, &survey.manager)
    } else {
        let says = format!("{}: tp is tested with Telepresence 2.20 and later 2.x", survey.manager);
        Check::note(Stage::Manager, name, says, "`tp helm install` installs a manager that surely fits")
    }
}

#[cfg(test)]
mod tests {
    use tp_core::doctor::Verdict;

    use super::*;

    #[test]
    fn versions_that_are_known_to_fit() {
        let verdict = |manager: String| version(&Survey { manager, ..Survey::default() }).verdict;
        let own = env!("CARGO_PKG_VERSION");
        assert_eq!(verdict(format!("Traffic Manager (tp) v{own}")), Verdict::Ok);
        assert_eq!(verdict("Traffic Manager (tp) v999.0.0".into()), Verdict::Note);
        assert_eq!(verdict("OSS Traffic Manager v2.20.2".into()), Verdict::Ok);
        assert_eq!(verdict("OSS Traffic Manager v2.31.0-rc.1".into()), Verdict::Ok);
        assert_eq!(verdict("OSS Traffic Manager v2.9.5".into()), Verdict::Note);
        assert_eq!(verdict(String::new()), Verdict::Note);
    }
}
