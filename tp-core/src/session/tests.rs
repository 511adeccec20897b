//! The session against its promises: by hand for the usual ways, by random inputs for the rest.

use super::*;

fn start() -> (Session, Instant) {
    let now = Instant::now();
    let mut session = Session::new(now);
    session.handle_timeout(now);
    assert_eq!(session.poll_action(), Some(Action::Arrive));
    (session, now)
}

fn arrive(session: &mut Session, now: Instant) {
    session.handle(Input::Arrived { session: "s1".into() }, now);
    assert_eq!(session.poll_action(), Some(Action::WatchCluster { session: "s1".into() }));
    assert_eq!(session.state(), State::Connected);
}

#[test]
fn stays_by_saying_so() {
    let (mut session, now) = start();
    arrive(&mut session, now);
    assert_eq!(session.poll_timeout(), Some(now + REMAIN_EVERY));
    session.handle_timeout(now + REMAIN_EVERY);
    assert_eq!(session.poll_action(), Some(Action::Remain { session: "s1".into() }));
    assert_eq!(session.poll_timeout(), None, "one question at a time");
    session.handle(Input::Remained(Remain::Ok), now + REMAIN_EVERY);
    assert_eq!(session.poll_timeout(), Some(now + REMAIN_EVERY * 2));
}

#[test]
fn a_manager_that_forgot_us_is_asked_for_a_new_session_at_once() {
    let (mut session, now) = start();
    arrive(&mut session, now);
    session.handle(Input::Remained(Remain::Unknown), now);
    assert_eq!(session.state(), State::Reconnecting);
    session.handle_timeout(now);
    assert_eq!(session.poll_action(), Some(Action::Arrive));
}

#[test]
fn an_unreachable_manager_does_not_cost_the_session() {
    let (mut session, now) = start();
    arrive(&mut session, now);
    session.handle(Input::Remained(Remain::Unreachable), now);
    assert_eq!(session.id(), Some("s1"));
    assert_eq!(session.poll_timeout(), Some(now + Duration::from_millis(250)));
}

#[test]
fn an_unchanged_view_is_not_followed_again() {
    let (mut session, now) = start();
    arrive(&mut session, now);
    let view = ClusterView { cluster_domain: "cluster.local".into(), ..ClusterView::default() };
    session.handle(Input::Cluster(Box::new(view.clone())), now);
    assert_eq!(session.poll_action(), Some(Action::Follow(Box::new(view.clone()))));
    session.handle(Input::Cluster(Box::new(view)), now);
    assert_eq!(session.poll_action(), None);
}

#[test]
fn a_session_that_arrives_after_the_user_left_is_given_back() {
    let (mut session, now) = start();
    session.handle(Input::Quit, now);
    session.handle(Input::Arrived { session: "late".into() }, now);
    assert_eq!(session.state(), State::Left);
    assert_eq!(session.poll_action(), Some(Action::Depart { session: "late".into() }));
}

/// `n` tells sessions apart.
fn input(kind: u8, n: u8) -> Input {
    match kind % 80 {
        0 => Input::Quit, // rare: nothing happens afterwards
        1..20 => Input::Arrived { session: format!("s{}", n % 4) },
        20..30 => Input::ArriveFailed,
        30..40 => Input::Remained(Remain::Ok),
        40..45 => Input::Remained(Remain::Unknown),
        45..50 => Input::Remained(Remain::Unreachable),
        50..60 => Input::Cluster(Box::default()),
        60..70 => Input::ClusterWatchEnded,
        _ => Input::SessionUnknown,
    }
}

/// Whatever happens: at most one Arrive is under way, Remain names the current session, a session that was ours is
/// departed when the user leaves, nothing happens afterwards, and there is always a next step until then.
#[test]
fn fuzz_promises() {
    bolero::check!().with_type::<Vec<(u8, u8, u16)>>().for_each(|steps| {
        let mut now = Instant::now();
        let mut session = Session::new(now);
        let mut arriving = false;
        let mut left = false;
        for (kind, n, wait) in steps {
            let input = input(*kind, *n);
            now += Duration::from_millis(u64::from(*wait));
            session.handle_timeout(now);
            let before = session.id().map(str::to_owned);
            match &input {
                Input::Arrived { .. } | Input::ArriveFailed => {
                    while let Some(action) = session.poll_action() {
                        if action == Action::Arrive {
                            arriving = true;
                        }
                    }
                    if !arriving && !left {
                        continue; // the shell reports only what it was asked for
                    }
                    arriving = false;
                }
                Input::Quit => left = true,
                _ => {}
            }
            let quit = input == Input::Quit;
            session.handle(input, now);
            let mut departed = None;
            while let Some(action) = session.poll_action() {
                match action {
                    Action::Arrive => {
                        assert!(!arriving, "two arrivals at once");
                        assert!(!left);
                        arriving = true;
                    }
                    Action::Remain { session: id } => {
                        assert!(before.as_ref() == Some(&id) || session.id() == Some(&id));
                    }
                    Action::Depart { session: id } => departed = Some(id),
                    Action::WatchCluster { .. } | Action::Follow(_) => {}
                }
            }
            if quit && before.is_some() {
                assert_eq!(departed, before);
            }
            if left {
                assert_eq!(session.state(), State::Left);
                assert_eq!(session.poll_timeout(), None);
            } else if let State::Connecting | State::Reconnecting = session.state() {
                assert!(arriving || session.poll_timeout().is_some(), "stuck");
            }
        }
    });
}
