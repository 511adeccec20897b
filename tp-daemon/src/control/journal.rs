//! What has happened on the way to the connection, kept for everybody who follows it.

use tokio::sync::watch;
use tp_proto::daemon::{Failure, Step};

/// Written by the connect that is under way, read by each `tp connect` that waits for it.
pub(super) struct Journal(watch::Sender<Pages>);

#[derive(Clone, Default)]
struct Pages {
    steps: Vec<Step>,
    outcome: Option<Outcome>,
}

#[derive(Clone)]
pub(super) enum Outcome {
    Connected,
    Failed(Failure),
}

pub(super) enum Entry {
    Step(Step),
    Outcome(Outcome),
}

/// One reader's place in the journal.
pub(super) struct Reader {
    pages: watch::Receiver<Pages>,
    read: usize,
}

impl Journal {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Pages::default()))
    }

    pub(super) fn step(&self, step: Step) {
        self.0.send_modify(|pages| pages.steps.push(step));
    }

    /// The first outcome stands.
    pub(super) fn close(&self, outcome: Outcome) {
        self.0.send_modify(|pages| {
            pages.outcome.get_or_insert(outcome);
        });
    }

    pub(super) fn read(&self) -> Reader {
        Reader { pages: self.0.subscribe(), read: 0 }
    }
}

impl Reader {
    /// The next entry; `None` if the journal is lost. After an outcome nothing comes.
    pub(super) async fn next(&mut self) -> Option<Entry> {
        let read = self.read;
        let pages =
            self.pages.wait_for(|pages| pages.steps.len() > read || pages.outcome.is_some()).await.ok()?;
        if let Some(step) = pages.steps.get(read) {
            self.read += 1;
            return Some(Entry::Step(step.clone()));
        }
        pages.outcome.clone().map(Entry::Outcome)
    }
}
