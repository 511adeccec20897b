//! The allocator against its promises.

use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn vips(v4: &str) -> Vips {
    let mut vips = Vips::new(v4.parse().unwrap(), "fd74:7076::/64".parse().unwrap());
    vips.set_inside(&["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
    vips
}

fn workload(name: &str) -> Exit {
    Exit::Workload(name.into())
}

#[test]
fn two_workloads_share_one_cluster_address() {
    let (mut vips, now) = (vips("246.246.0.0/16"), Instant::now());
    let (first, changes) = vips.vip(ip("10.1.2.3"), &workload("a"), now).unwrap();
    assert_eq!(first, ip("246.246.0.1"));
    assert_eq!(changes, [Change::Add { vip: first, inside: ip("10.1.2.3") }]);
    let (second, changes) = vips.vip(ip("10.1.2.3"), &workload("b"), now).unwrap();
    assert_eq!(changes, [Change::Add { vip: second, inside: second }], "one of them may have it inside");
    assert_eq!(vips.lookup(first), Some((ip("10.1.2.3"), &workload("a"))));
    assert_eq!(vips.lookup(second), Some((ip("10.1.2.3"), &workload("b"))));
    assert_eq!(vips.vip(ip("10.1.2.3"), &workload("a"), now).unwrap(), (first, vec![]));
}

#[test]
fn what_cannot_live_inside_is_its_own_virtual_address_there() {
    let (mut vips, now) = (vips("246.246.0.0/16"), Instant::now());
    for cluster in ["127.0.0.1", "192.168.1.7", "::1"] {
        let (vip, changes) = vips.vip(ip(cluster), &Exit::Manager, now).unwrap();
        assert_eq!(changes, [Change::Add { vip, inside: vip }], "{cluster}");
        assert_eq!(vip.is_ipv4(), ip(cluster).is_ipv4());
    }
    let (vip, changes) = vips.vip(ip("fd00::7"), &Exit::Manager, now).unwrap();
    assert_eq!((vip, &changes[..]), (ip("fd74:7076::2"), &[Change::Add { vip, inside: ip("fd00::7") }][..]));
}

#[test]
fn given_back_after_disuse_and_got_back() {
    let (mut vips, start) = (vips("246.246.0.0/16"), Instant::now());
    let (vip, added) = vips.vip(ip("10.1.2.3"), &Exit::Manager, start).unwrap();
    assert_eq!(vips.expire(start + DISUSE - MINUTE), []);
    vips.flow_started(vip);
    assert_eq!(vips.expire(start + 10 * DISUSE), [], "a flow uses it");
    vips.flow_ended(vip, start + 10 * DISUSE);
    assert_eq!(vips.expire(start + 11 * DISUSE - MINUTE), []);
    assert_eq!(vips.expire(start + 11 * DISUSE), [Change::Remove { vip }]);
    assert_eq!((vips.entries(), vips.in_use()), (vec![], 0));
    assert!(vips.lookup(vip).is_some(), "an app may have kept it");
    assert_eq!(vips.vip(ip("10.1.2.3"), &Exit::Manager, start + 20 * DISUSE).unwrap(), (vip, added));
    assert_eq!(vips.in_use(), 1);
}

/// A JVM caches a name for ever.
#[test]
fn an_app_that_kept_a_resting_one_is_understood() {
    let (mut vips, start) = (vips("246.246.0.0/16"), Instant::now());
    let (vip, _) = vips.vip(ip("10.1.2.3"), &Exit::Manager, start).unwrap();
    vips.expire(start + DISUSE);
    vips.flow_started(vip);
    assert_eq!(vips.entries()[0].inside, vip, "the kernel was told to forget it");
    assert_eq!(vips.expire(start + 9 * DISUSE), []);
    vips.flow_ended(vip, start + 9 * DISUSE);
    assert_eq!(vips.expire(start + 10 * DISUSE), [Change::Remove { vip }]);
}

#[test]
fn running_out_is_an_error_until_one_has_rested() {
    let (mut vips, start) = (vips("246.246.0.0/30"), Instant::now());
    let (first, _) = vips.vip(ip("10.0.0.1"), &Exit::Manager, start).unwrap();
    vips.vip(ip("10.0.0.2"), &Exit::Manager, start + MINUTE).unwrap();
    let error = vips.vip(ip("10.0.0.3"), &Exit::Manager, start + MINUTE).unwrap_err();
    insta::assert_snapshot!(error, @"the virtual subnet 246.246.0.0/30 is used up: all of its 2 addresses stand, or stood lately, for one of the cluster");
    assert_eq!(vips.expire(start + DISUSE), [Change::Remove { vip: first }]);
    assert!(vips.vip(ip("10.0.0.3"), &Exit::Manager, start + DISUSE + REST - MINUTE).is_err());
    let (third, _) = vips.vip(ip("10.0.0.3"), &Exit::Manager, start + DISUSE + REST).unwrap();
    assert_eq!(third, first);
    assert_eq!(vips.lookup(third), Some((ip("10.0.0.3"), &Exit::Manager)));
    assert!(vips.vip(ip("fd00::1"), &Exit::Manager, start).is_ok(), "the other family has its own pool");
}

#[test]
fn pools_of_every_size() {
    for (net, size) in [
        ("246.0.0.0/8", 65_536),
        ("246.246.0.0/16", 65_534),
        ("246.246.0.0/31", 2),
        ("246.246.0.9/32", 1),
        ("0.0.0.0/0", 65_536),
        ("fd74::/64", 65_536),
        ("::/0", 65_536),
        ("fd74::4/126", 2),
    ] {
        let mut pool = Pool::new(net.parse().unwrap());
        let mut given = BTreeSet::new();
        while let Some(ip) = pool.fresh() {
            assert!(pool.net().contains(&ip) && given.insert(ip), "{net} {ip}");
        }
        assert_eq!((given.len(), pool.size()), (size, u32::try_from(size).unwrap()), "{net}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Ask { host: u8, exit: u8 },
    Start(u8),
    End(u8),
    Wait(u8),
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..9, 0u8..2).prop_map(|(host, exit)| Step::Ask { host, exit }),
        2 => (0u8..16).prop_map(Step::Start),
        2 => (0u8..16).prop_map(Step::End),
        2 => (1u8..40).prop_map(Step::Wait),
        2 => Just(Step::Expire),
    ]
}

/// What a client may rely on, noted from outside.
#[derive(Default)]
struct Noted {
    key_of: HashMap<IpAddr, (IpAddr, Exit)>,
    flows: HashMap<IpAddr, u32>,
    /// When somebody was told of it, or a flow ended.
    used: HashMap<IpAddr, Instant>,
    removed: HashMap<IpAddr, Instant>,
    /// As the dataplane has it.
    kernel: HashMap<IpAddr, IpAddr>,
}

impl Noted {
    fn change(&mut self, change: Change, now: Instant) -> Result<(), TestCaseError> {
        match change {
            Change::Add { vip, inside } => {
                self.kernel.insert(vip, inside);
            }
            Change::Remove { vip } => {
                prop_assert!(self.kernel.remove(&vip).is_some(), "removed twice");
                prop_assert_eq!(self.flows.get(&vip).copied().unwrap_or(0), 0, "removed under a flow");
                prop_assert!(now - self.used[&vip] >= DISUSE, "removed early");
                self.removed.insert(vip, now);
            }
        }
        let mut inside: Vec<&IpAddr> = self.kernel.values().collect();
        inside.sort();
        inside.dedup();
        prop_assert_eq!(inside.len(), self.kernel.len(), "two VIPs with one address inside");
        Ok(())
    }

    fn asked(
        &mut self,
        key: &(IpAddr, Exit),
        vip: IpAddr,
        now: Instant,
        fresh: bool,
    ) -> Result<(), TestCaseError> {
        if let Some(before) = self.key_of.insert(vip, key.clone())
            && before != *key
        {
            prop_assert!(now - self.removed[&vip] >= REST, "reused early");
            prop_assert!(!self.kernel.contains_key(&vip), "reused in use");
            prop_assert!(!fresh, "reused although others were never used");
        }
        self.used.insert(vip, now);
        Ok(())
    }
}

proptest! {
    #[test]
    fn every_promise_holds_at_every_step(steps in proptest::collection::vec(step(), 1..160)) {
        // 6 addresses for 18 keys
        let mut vips = vips("246.246.0.0/29");
        let pool: IpNet = "246.246.0.0/29".parse().unwrap();
        let (mut now, mut noted) = (Instant::now(), Noted::default());
        let nth = |noted: &Noted, n: u8| {
            let mut known: Vec<IpAddr> = noted.key_of.keys().copied().collect();
            known.sort();
            (!known.is_empty()).then(|| known[usize::from(n) % known.len()])
        };
        for step in steps {
            match step {
                Step::Ask { host, exit } => {
                    let key = (IpAddr::from([10, 0, 0, host]), workload(&exit.to_string()));
                    let had = noted.key_of.iter().find(|(_, known)| **known == key).map(|(vip, _)| *vip);
                    let fresh = noted.key_of.len() < 6;
                    match vips.vip(key.0, &key.1, now) {
                        Ok((vip, changes)) => {
                            prop_assert!(pool.contains(&vip));
                            prop_assert!(had.is_none_or(|had| had == vip), "a key has one VIP");
                            noted.asked(&key, vip, now, fresh)?;
                            for change in changes {
                                noted.change(change, now)?;
                            }
                            prop_assert_eq!(vips.lookup(vip), Some((key.0, &key.1)));
                        }
                        Err(_) => {
                            prop_assert!(had.is_none() && !fresh, "refused without need");
                            let all_rest = noted.key_of.keys().filter(|vip| {
                                !noted.kernel.contains_key(*vip)
                                    && noted.flows.get(*vip).copied().unwrap_or(0) == 0
                                    && now.saturating_duration_since(noted.removed[*vip]) >= REST
                                    && now.saturating_duration_since(noted.used[*vip]) >= DISUSE + REST
                            });
                            prop_assert_eq!(all_rest.count(), 0, "one has rested for long enough");
                        }
                    }
                }
                Step::Start(n) => if let Some(vip) = nth(&noted, n) {
                    vips.flow_started(vip);
                    *noted.flows.entry(vip).or_default() += 1;
                    // an app that has kept it: from now on it is its own address inside
                    noted.kernel.entry(vip).or_insert(vip);
                },
                Step::End(n) => if let Some(vip) = nth(&noted, n)
                    && let Some(flows) = noted.flows.get_mut(&vip)
                    && *flows > 0
                {
                    *flows -= 1;
                    vips.flow_ended(vip, now);
                    noted.used.insert(vip, now);
                },
                Step::Wait(minutes) => now += MINUTE * minutes.into(),
                Step::Expire => for change in vips.expire(now) {
                    noted.change(change, now)?;
                },
            }
            for (vip, key) in &noted.key_of {
                prop_assert_eq!(vips.lookup(*vip), Some((key.0, &key.1)), "it stands for what it was given for");
            }
            let told: HashMap<IpAddr, IpAddr> =
                vips.entries().into_iter().map(|entry| (entry.vip, entry.inside)).collect();
            prop_assert_eq!(&told, &noted.kernel);
            prop_assert_eq!(told.len(), vips.in_use());
        }
    }
}
