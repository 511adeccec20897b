//! Steps of connecting, on their way to the user who waits.

use tokio::sync::mpsc;

/// One step of connecting, as the user sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    pub name: &'static str,
    pub detail: String,
}

/// Where steps go. A user who does not look does not stop us.
#[derive(Clone, Debug)]
pub struct Progress(mpsc::Sender<Step>);

impl Progress {
    pub fn new(steps: mpsc::Sender<Step>) -> Self {
        Self(steps)
    }

    /// A step begins; the one before it is done.
    pub fn step(&self, name: &'static str, detail: impl Into<String>) {
        let step = Step { name, detail: detail.into() };
        tracing::info!(step = step.name, detail = step.detail, "connecting");
        let _ = self.0.try_send(step);
    }
}
