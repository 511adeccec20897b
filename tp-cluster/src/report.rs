//! How an error is told: what we were doing, what was wrong, and after an empty line what to do next.

use anyhow::Error;

const HINT: &str = "\n\nhint: ";

/// The whole chain in one line, then the outermost hint.
pub fn report(error: &Error) -> String {
    let mut texts = Vec::new();
    let mut hint = None;
    for cause in error.chain() {
        let text = cause.to_string();
        match text.split_once(HINT) {
            Some((text, next)) => {
                texts.push(text.to_owned());
                hint.get_or_insert_with(|| next.to_owned());
            }
            None => texts.push(text),
        }
    }
    // many an error tells its cause's text as part of its own
    texts.dedup_by(|inner, outer| outer.ends_with(inner.as_str()));
    let text = texts.join(": ");
    hint.map_or(text.clone(), |hint| format!("{text}{HINT}{hint}"))
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn the_hint_comes_last() {
        let error = Err::<(), _>(anyhow!("address in use"))
            .context("cannot listen on 127.0.0.1:1\n\nhint: take another port")
            .context("the manager did not start")
            .unwrap_err();
        assert_eq!(
            report(&error),
            "the manager did not start: cannot listen on 127.0.0.1:1: address in use\n\nhint: take another port"
        );
    }
}
