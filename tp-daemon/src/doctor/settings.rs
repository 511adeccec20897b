//! The configuration: files, kubeconfig and flags, read as a connect would.

use tp_core::config::{Config, Row};
use tp_core::doctor::{Check, Stage};
use tp_proto::daemon::ConnectRequest;

use crate::config::Sources;

/// Whether it can be used.
pub(super) async fn check(request: &ConnectRequest, checks: &mut Vec<Check>) -> bool {
    match Sources::load(request).await {
        Ok(sources) => {
            checks.extend(set(&sources.config()));
            true
        }
        Err(failure) => {
            checks.push(super::failed(Stage::Settings, "configuration", failure));
            false
        }
    }
}

/// What is set, and what of it does nothing.
fn set(config: &Config) -> Vec<Check> {
    let mut rows = config.view();
    rows.retain(|row| row.source != DEFAULT);
    let name = |row: &Row| format!("{} from {}", row.key, row.source);
    let says = match &rows[..] {
        [] => "nothing is set: the defaults hold".to_owned(),
        rows => rows.iter().map(name).collect::<Vec<_>>().join("\n"),
    };
    let mut checks = vec![Check::ok(Stage::Settings, "configuration", says)];
    let idle = rows.iter().filter(|row| !row.note.is_empty());
    let idle: Vec<String> = idle.map(|row| format!("{}: {}", row.key, row.note)).collect();
    if !idle.is_empty() {
        let hint = "`tp config view --sources` shows every value";
        checks.push(Check::note(Stage::Settings, "without effect", idle.join("\n"), hint));
    }
    checks
}

const DEFAULT: &str = "default";

#[cfg(test)]
mod tests {
    use tp_core::config::{Layer, Source};
    use tp_core::doctor::Verdict;

    use super::*;

    fn told(yaml: &str) -> Vec<(Verdict, String)> {
        let file = Source::File("/home/a/.config/tp/config.yml".into());
        let config = Config::merge(&[Layer::parse(file, yaml).unwrap()]);
        set(&config).into_iter().map(|check| (check.verdict, check.says)).collect()
    }

    #[test]
    fn only_what_somebody_set_is_told() {
        assert_eq!(told(""), [(Verdict::Ok, "nothing is set: the defaults hold".to_owned())]);
        let yaml = "routing:\n  alsoProxySubnets: [10.1.0.0/16]\n";
        let says = "routing.alsoProxySubnets from /home/a/.config/tp/config.yml:2";
        let told = told(yaml);
        assert!(told.len() == 1 && told[0].1.starts_with(says), "{told:?}");
    }
}
