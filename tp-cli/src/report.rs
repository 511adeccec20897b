//! How `tp` tells people what went wrong: what we were doing, what is wrong, then what to do next.

use std::{fmt, io::IsTerminal, process::ExitCode};

/// An error's advice; attach it with [`Advice::hint`] and it is printed last, after a blank line.
#[derive(Debug)]
pub struct Hint(String);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Adds a hint to whatever fails.
pub trait Advice<T> {
    /// What the user should do next.
    fn hint(self, hint: impl Into<String>) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Advice<T> for Result<T, E> {
    fn hint(self, hint: impl Into<String>) -> anyhow::Result<T> {
        self.map_err(|error| with_hint(error.into(), hint))
    }
}

/// The error with its hint.
pub fn with_hint(error: anyhow::Error, hint: impl Into<String>) -> anyhow::Error {
    error.context(Hint(hint.into()))
}

/// The text of an error as it appears on stderr.
pub fn text(error: &anyhow::Error) -> String {
    let hint = error.downcast_ref::<Hint>().map(ToString::to_string);
    let mut said: Vec<String> = Vec::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // Many libraries repeat their source in their own text.
        if Some(&cause) != hint.as_ref() && !said.iter().any(|s| s.contains(&cause)) {
            said.push(cause);
        }
    }
    let mut text = format!("error: {}\n", said.join(": "));
    if let Some(hint) = hint {
        text.push_str(&format!("\nhint: {hint}\n"));
    }
    text
}

/// Prints the error, if there is one; 0 on success and 1 on failure (2 is clap's, for wrong usage).
pub fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    print(&error);
    ExitCode::FAILURE
}

/// Prints the error; on a terminal its two keywords stand out.
pub fn print(error: &anyhow::Error) {
    let mut text = text(error);
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if std::io::stderr().is_terminal() && !is_set("NO_COLOR") {
        text = text.replacen("error:", "\x1b[1;31merror:\x1b[0m", 1);
        text = text.replacen("\nhint:", "\n\x1b[1;36mhint:\x1b[0m", 1);
    }
    eprint!("{text}");
}

#[cfg(test)]
mod tests {
    use super::{Advice, text};
    use anyhow::Context;

    #[test]
    fn an_error_says_what_we_did_what_is_wrong_and_what_to_do() {
        let error = std::fs::read("/nonexistent/values.yaml")
            .context("reading values file")
            .hint("give the path of a YAML file")
            .context("installing the traffic-manager")
            .unwrap_err();
        insta::assert_snapshot!(text(&error), @r#"
        error: installing the traffic-manager: reading values file: No such file or directory (os error 2)

        hint: give the path of a YAML file
        "#);
    }
}
