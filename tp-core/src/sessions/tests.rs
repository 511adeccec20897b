//! Sessions of clients and agents, against examples and a model.

use super::*;

fn client() -> Client {
    Client {
        name: "me@laptop".into(),
        install_id: "1".into(),
        product: "telepresence".into(),
        version: "v2.20.2".into(),
        namespace: "default".into(),
    }
}

fn arrive(client: Client) -> Result<(), ArriveError> {
    Sessions::new(Limits::default()).arrive("id".into(), client, Duration::ZERO)
}

#[test]
fn what_a_client_must_say() {
    assert_eq!(arrive(client()), Ok(()));
    assert_eq!(arrive(Client { namespace: String::new(), ..client() }), Ok(()));
    for (incomplete, field) in [
        (Client { name: String::new(), ..client() }, "name"),
        (Client { install_id: String::new(), ..client() }, "install id"),
        (Client { product: String::new(), ..client() }, "product"),
        (Client { version: String::new(), ..client() }, "version"),
    ] {
        assert_eq!(arrive(incomplete), Err(ArriveError::Missing(field)));
    }
}

#[test]
fn versions() {
    let with = |version: &str, product: &str| {
        arrive(Client { version: version.into(), product: product.into(), ..client() })
    };
    assert_eq!(with("2.6.0", "telepresence"), Ok(()));
    assert_eq!(with("v2.6.0-rc.1", "telepresence"), Ok(()));
    assert_eq!(with("v2.5.9", "telepresence"), Err(ArriveError::TooOld(Version::new(2, 5, 9))));
    assert_eq!(with("0.1.0", "tp"), Ok(()));
    assert_eq!(with("latest", "tp"), Err(ArriveError::Version("latest".into())));
}

fn agent() -> Agent {
    let tcp = Mechanism { name: "tcp".into(), product: "telepresence".into(), version: "2.20.2".into() };
    Agent {
        workload: "echo".into(),
        namespace: "default".into(),
        product: "telepresence".into(),
        version: "2.20.2".into(),
        mechanisms: vec![tcp],
        ..Agent::default()
    }
}

#[test]
fn what_an_agent_must_say() {
    let arrive = |agent| Sessions::new(Limits::default()).arrive_agent("id".into(), agent, Duration::ZERO);
    assert_eq!(arrive(agent()), Ok(()));
    let nameless = Mechanism { name: String::new(), ..agent().mechanisms[0].clone() };
    for incomplete in [
        Agent { workload: String::new(), ..agent() },
        Agent { namespace: String::new(), ..agent() },
        Agent { product: String::new(), ..agent() },
        Agent { version: String::new(), ..agent() },
        Agent { mechanisms: Vec::new(), ..agent() },
        Agent { mechanisms: vec![agent().mechanisms[0].clone(), nameless], ..agent() },
    ] {
        let refused = arrive(incomplete.clone());
        assert!(matches!(refused, Err(ArriveError::Agent(_))), "{incomplete:?}: {refused:?}");
    }
}

#[test]
fn an_agent_is_no_client_and_a_client_no_agent() {
    let mut sessions = Sessions::new(Limits::default());
    sessions.arrive("c".into(), client(), Duration::ZERO).unwrap();
    sessions.arrive_agent("a".into(), agent(), Duration::ZERO).unwrap();
    assert!(sessions.client("c").is_some() && sessions.agent("c").is_none());
    assert!(sessions.client("a").is_none() && sessions.agent("a").is_some());
    assert_eq!(sessions.agents().collect::<Vec<_>>(), [&agent()]);
}

#[test]
fn where_an_agent_is_reached() {
    let ip = "10.244.0.7".parse().unwrap();
    assert_eq!(Agent { pod_ip: Some(ip), api_port: 4038, ..agent() }.api(), Some((ip, 4038)));
    assert_eq!(Agent { pod_ip: Some(ip), ..agent() }.api(), None);
    assert_eq!(Agent { api_port: 4038, ..agent() }.api(), None);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Arrive,
    ArriveAgent,
    Remain(u8),
    Depart(u8),
    Wait(u8),
}

fn step(kind: u8, n: u8) -> Step {
    match kind % 5 {
        0 => Step::Arrive,
        1 => Step::ArriveAgent,
        2 => Step::Remain(n % 6),
        3 => Step::Depart(n % 6),
        _ => Step::Wait(n % 20),
    }
}

/// Against a model that keeps every sign of life and looks at all of them.
#[test]
fn fuzz_a_session_lives_while_it_gives_signs_of_life() {
    bolero::check!().with_type::<Vec<(u8, u8)>>().for_each(|steps| {
        let limits =
            Limits { ttl: Duration::from_secs(30), agent_ttl: Duration::from_secs(15), max_sessions: 4 };
        let mut sessions = Sessions::new(limits);
        let mut model: Vec<(String, u64, u64)> = Vec::new();
        let (mut now, mut next) = (0u64, 0u32);
        // `n` names the n-th session that ever was, living or not
        let nth = |n: u8, model: &[(String, u64, u64)], next: u32| {
            model.get(usize::from(n)).map_or_else(|| format!("gone-{}", next + u32::from(n)), |s| s.0.clone())
        };
        for (kind, n) in steps {
            let step = step(*kind, *n);
            let at = Duration::from_secs(now);
            match step {
                Step::Arrive | Step::ArriveAgent => {
                    next += 1;
                    let (admitted, ttl) = match step {
                        Step::Arrive => (sessions.arrive(next.to_string(), client(), at), 30),
                        _ => (sessions.arrive_agent(next.to_string(), agent(), at), 15),
                    };
                    assert_eq!(admitted.is_ok(), model.len() < limits.max_sessions);
                    if admitted.is_ok() {
                        model.push((next.to_string(), now, ttl));
                    }
                }
                Step::Remain(n) => {
                    let id = nth(n, &model, next);
                    let known = model.iter_mut().find(|s| s.0 == id).map(|s| s.1 = now).is_some();
                    assert_eq!(sessions.remain(&id, at), known);
                }
                Step::Depart(n) => {
                    let id = nth(n, &model, next);
                    let before = model.len();
                    model.retain(|s| s.0 != id);
                    assert_eq!(sessions.depart(&id), before != model.len());
                }
                Step::Wait(seconds) => now += u64::from(seconds),
            }
            let mut over = sessions.expire(Duration::from_secs(now));
            let mut expected: Vec<String> =
                model.iter().filter(|s| now - s.1 >= s.2).map(|s| s.0.clone()).collect();
            over.sort();
            expected.sort();
            assert_eq!(over, expected);
            model.retain(|s| now - s.1 < s.2);
            assert_eq!(sessions.len(), model.len());
            for (id, _, ttl) in &model {
                assert_eq!(sessions.client(id).is_some(), *ttl == 30);
                assert_eq!(sessions.agent(id).is_some(), *ttl == 15);
            }
            assert_eq!(sessions.agents().count(), model.iter().filter(|s| s.2 == 15).count());
        }
    });
}
