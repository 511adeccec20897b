//! The client's session with a manager, as a state machine: inputs in, actions out.
//!
//! It decides when to arrive, when to say that we are still here, when to give a session up and start over, and what
//! the workstation's routes follow. The shell carries the actions out and reports what came of them.

mod backoff;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::cluster::ClusterView;
pub use backoff::Backoff;

/// Telepresence clients say that they are still here this often (facts §2.1); agents expire after 15 s, clients later.
pub const REMAIN_EVERY: Duration = Duration::from_secs(5);

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// The manager gave us a session.
    Arrived { session: String },
    /// ArriveAsClient failed.
    ArriveFailed,
    /// The answer to Remain.
    Remained(Remain),
    /// The manager reported the cluster's networks.
    Cluster(Box<ClusterView>),
    /// The stream of reports ended or broke.
    ClusterWatchEnded,
    /// A tunnel stream was answered with "unknown session".
    SessionUnknown,
    /// The user wants to leave.
    Quit,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remain {
    Ok,
    /// The manager does not know us (any more): it restarted, or we were away for too long.
    Unknown,
    /// No answer: the way to the manager is broken.
    Unreachable,
}

/// What the shell has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    Arrive,
    Remain {
        session: String,
    },
    WatchCluster {
        session: String,
    },
    /// Routes and names follow this view from now on. Never the same view twice in a row.
    Follow(Box<ClusterView>),
    Depart {
        session: String,
    },
}

/// What the user is told in `tp status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Connecting,
    Connected,
    Reconnecting,
    Left,
}

#[derive(Debug)]
pub struct Session {
    phase: Phase,
    backoff: Backoff,
    view: Option<Box<ClusterView>>,
    arrived_before: bool,
    watch: Watch,
    actions: VecDeque<Action>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Phase {
    /// Wants a session; asks (again) at the given time.
    Away {
        at: Instant,
    },
    /// ArriveAsClient is under way.
    Arriving,
    /// Has a session.
    Here {
        session: String,
        remain: Ask,
    },
    Left,
}

/// A question that is asked again and again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ask {
    At(Instant),
    UnderWay,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Watch {
    Running,
    /// Ended; to be opened again at the given time.
    Again(Instant),
}

impl Session {
    pub fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Away { at: now },
            backoff: Backoff::new(Duration::from_millis(250), Duration::from_secs(10)),
            view: None,
            arrived_before: false,
            watch: Watch::Running,
            actions: VecDeque::new(),
        }
    }

    pub fn state(&self) -> State {
        match (&self.phase, self.arrived_before) {
            (Phase::Left, _) => State::Left,
            (Phase::Here { .. }, _) => State::Connected,
            (_, true) => State::Reconnecting,
            (_, false) => State::Connecting,
        }
    }

    /// The current session id, while there is one.
    pub fn id(&self) -> Option<&str> {
        match &self.phase {
            Phase::Here { session, .. } => Some(session),
            _ => None,
        }
    }

    pub fn view(&self) -> Option<&ClusterView> {
        self.view.as_deref()
    }

    pub fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Quit => self.quit(),
            Input::Arrived { session } if self.phase == Phase::Left => {
                // too late: do not leave a session behind
                self.actions.push_back(Action::Depart { session });
            }
            _ if self.phase == Phase::Left => {}
            Input::Arrived { session } => self.arrived(session, now),
            Input::ArriveFailed => {
                if self.phase == Phase::Arriving {
                    self.phase = Phase::Away { at: now + self.backoff.pause() };
                }
            }
            Input::Remained(answer) => self.remained(answer, now),
            Input::SessionUnknown => {
                if matches!(self.phase, Phase::Here { .. }) {
                    self.phase = Phase::Away { at: now };
                }
            }
            Input::Cluster(view) => {
                if self.view.as_ref() != Some(&view) {
                    self.view = Some(view.clone());
                    self.actions.push_back(Action::Follow(view));
                }
            }
            Input::ClusterWatchEnded => {
                if matches!(self.phase, Phase::Here { .. }) {
                    self.watch = Watch::Again(now + self.backoff.pause());
                }
            }
        }
    }

    /// Time has passed: fires whatever is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Away { at } if *at <= now => {
                self.phase = Phase::Arriving;
                self.actions.push_back(Action::Arrive);
            }
            Phase::Here { session, remain } => {
                if matches!(remain, Ask::At(at) if *at <= now) {
                    *remain = Ask::UnderWay;
                    self.actions.push_back(Action::Remain { session: session.clone() });
                }
                if matches!(self.watch, Watch::Again(at) if at <= now) {
                    self.watch = Watch::Running;
                    self.actions.push_back(Action::WatchCluster { session: session.clone() });
                }
            }
            _ => {}
        }
    }

    /// When [`Session::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (&self.phase, self.watch) {
            (Phase::Away { at }, _) => Some(*at),
            (Phase::Here { remain, .. }, watch) => {
                let remain = if let Ask::At(at) = remain { Some(*at) } else { None };
                let watch = if let Watch::Again(at) = watch { Some(at) } else { None };
                [remain, watch].into_iter().flatten().min()
            }
            _ => None,
        }
    }

    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn arrived(&mut self, session: String, now: Instant) {
        if self.phase != Phase::Arriving {
            // an answer that comes after we gave up: do not leave a session behind
            self.actions.push_back(Action::Depart { session });
            return;
        }
        self.backoff.reset();
        self.arrived_before = true;
        self.watch = Watch::Running;
        self.actions.push_back(Action::WatchCluster { session: session.clone() });
        self.phase = Phase::Here { session, remain: Ask::At(now + REMAIN_EVERY) };
    }

    fn remained(&mut self, answer: Remain, now: Instant) {
        let Phase::Here { remain, .. } = &mut self.phase else { return };
        match answer {
            Remain::Ok => {
                self.backoff.reset();
                *remain = Ask::At(now + REMAIN_EVERY);
            }
            Remain::Unknown => self.phase = Phase::Away { at: now },
            // the session may well survive on the other side: ask again, sooner
            Remain::Unreachable => *remain = Ask::At(now + self.backoff.pause().min(REMAIN_EVERY)),
        }
    }

    fn quit(&mut self) {
        self.actions.retain(|action| matches!(action, Action::Depart { .. }));
        if let Phase::Here { session, .. } = std::mem::replace(&mut self.phase, Phase::Left) {
            self.actions.push_back(Action::Depart { session });
        }
    }
}

#[cfg(test)]
mod tests;
