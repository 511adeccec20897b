//! Progress on stderr: a line per step, alive on a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Drawn for people; programs read stdout.
#[derive(Debug)]
pub struct Progress {
    /// `None`: stderr is no terminal, and each step is a plain line.
    live: Option<Live>,
}

#[derive(Debug)]
struct Live {
    step: Option<ProgressBar>,
}

impl Progress {
    pub fn new() -> Self {
        let live = std::io::stderr().is_terminal().then_some(Live { step: None });
        Self { live }
    }

    /// A step begins; the one before it is done.
    pub fn step(&mut self, name: &str, detail: &str) {
        let line = if detail.is_empty() { name.to_owned() } else { format!("{name}: {detail}") };
        let Some(live) = &mut self.live else {
            eprintln!("{line}");
            return;
        };
        live.end("{prefix:.green} {wide_msg}", "✔");
        let step =
            ProgressBar::new_spinner().with_style(style("{spinner:.cyan} {wide_msg}")).with_message(line);
        step.enable_steady_tick(Duration::from_millis(100));
        live.step = Some(step);
    }

    /// All steps are done.
    pub fn succeed(mut self) {
        if let Some(live) = &mut self.live {
            live.end("{prefix:.green} {wide_msg}", "✔");
        }
    }

    /// The last step failed; the error comes after this.
    pub fn fail(mut self) {
        if let Some(live) = &mut self.live {
            live.end("{prefix:.red} {wide_msg}", "✘");
        }
    }
}

impl Live {
    fn end(&mut self, template: &str, mark: &'static str) {
        if let Some(step) = self.step.take() {
            step.set_style(style(template));
            step.set_prefix(mark);
            step.finish();
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// The templates are ours; one with a mistake would be drawn in indicatif's own style.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
