//! Which rules and tables an app's ordinary packet consults: who has an address today, and what it takes to win it.
//!
//! Ordinary is a packet of a program on this machine whose socket has no mark and is bound to no device. So a rule for
//! a mark (a VPN's own transport), for packets that came in by an interface, or for a bound socket (`oif`, a VRF's
//! l3mdev) is passed over, an inverted one (wg-quick's `not from all fwmark`) is not. A rule for a source network
//! counts if packets have such a source only once they are routed to the TUN. A rule for a user, a protocol, a port or
//! a type of service takes *some* of the apps' packets: its table counts, and so does everything after it.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Own;
use super::special::is_default_like;
use crate::machine::{Address, LOCAL, Link, MAIN, Machine, Route, RouteKind, Rule, RuleAction};

mod selection;
mod way;

use self::selection::{Selected, selects};

/// A machine's routes in the order in which they are asked.
#[derive(Debug)]
pub(super) struct Tables {
    links: Vec<Link>,
    /// Of links that are up and not ours, sorted: longest prefix first, then lowest metric.
    routes: Vec<Route>,
    rules_v4: Vec<Rule>,
    rules_v6: Vec<Rule>,
    /// Sources of packets that our routes send to the TUN.
    sources: Vec<IpNet>,
    /// The workstation's own networks: hosts, containers and virtual machines beside it.
    neighbours: Vec<IpNet>,
}

/// Who has an address today.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Holder<'a> {
    /// A route, and the network for which it is asked: a rule may narrow it.
    Route(&'a Route, IpNet),
    /// A rule that refuses packets.
    Rule(&'a Rule, IpNet),
    /// No rule leads to a table that we could use.
    Nobody,
}

/// What it takes to win an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Winning {
    /// `main` first.
    pub tables: Vec<u32>,
    /// Our route must be at least this specific.
    pub min_length: u8,
}

/// Halving stops here: a rule that suppresses routes of this much more than ours is passed over.
const MOST_HALVINGS: u8 = 8;

impl Tables {
    pub(super) fn of(machine: &Machine, own: &Own) -> Self {
        let is_up = |link: Option<u32>| {
            link.is_none_or(|index| {
                !own.links.contains(&index) && machine.link(index).is_none_or(|link| link.up)
            })
        };
        let untold = machine.addresses.iter().flat_map(|address| untold_routes(address, machine));
        let mut routes: Vec<Route> =
            machine.routes.iter().cloned().chain(untold).filter(|route| is_up(route.link)).collect();
        routes.sort_by_key(|route| (std::cmp::Reverse(route.network.prefix_len()), route.metric));
        Self {
            links: machine.links.clone(),
            routes,
            rules_v4: sorted_rules(machine, false),
            rules_v6: sorted_rules(machine, true),
            sources: own.tun_networks.clone(),
            neighbours: neighbours(machine, own),
        }
    }

    /// Whether an app, the workstation's or one that it forwards, may have this address.
    pub(super) fn is_neighbour(&self, ip: IpAddr) -> bool {
        self.neighbours.iter().any(|network| network.contains(&ip))
    }

    /// Where answers may change.
    pub(super) fn boundaries(&self) -> Vec<IpNet> {
        let rules = self.rules_v4.iter().chain(&self.rules_v6).filter_map(|rule| rule.to);
        let routes = self.routes.iter().map(|route| route.network.trunc());
        routes.chain(rules).chain(self.neighbours.iter().copied()).collect()
    }

    /// Everybody who may have packets to `ip` today, most often one or nobody. Default routes have nothing of their
    /// own; a route that throws away is in the way of `wanted` only if it is as specific, for somebody meant just
    /// that. A route behind a default one counts although it waits for the VPN's end.
    pub(super) fn holders(&self, ip: IpAddr, wanted: u8) -> Vec<Holder<'_>> {
        let mut found = Vec::new();
        self.walk(ip, |rule, certain| {
            let RuleAction::Table(table) = rule.action else {
                return if certain { Then::Stop } else { Then::Continue }; // refused: nobody has them
            };
            let Some(route) = self.best(table, ip).filter(|route| !is_passed_over(route, rule)) else {
                return Then::Continue;
            };
            let network = narrowed_by(rule, route.network.trunc());
            let broad = is_default_like(&network)
                || (throws_away(route.kind) && network.prefix_len() < wanted && table != LOCAL);
            if broad {
                return Then::Continue;
            }
            if !found.contains(&Holder::Route(route, network)) {
                found.push(Holder::Route(route, network));
            }
            if certain { Then::Stop } else { Then::Continue }
        });
        found
    }

    /// What it takes that every ordinary packet to the addresses of a block around `ip`, `length` long, takes our
    /// route; or who cannot be beaten.
    pub(super) fn winning(&self, ip: IpAddr, length: u8) -> Result<Winning, Holder<'_>> {
        let mut ours = Vec::new();
        loop {
            let before = ours.len();
            let won = self.winning_with(&mut ours, ip, length);
            // a rule that passes over what its table has today may find our route there, meant for a later rule
            if won.is_ok() || ours.len() == before {
                return won;
            }
        }
    }

    /// The same if there are routes of ours in these tables. Adds those that it takes besides.
    fn winning_with(&self, ours: &mut Vec<u32>, ip: IpAddr, length: u8) -> Result<Winning, Holder<'_>> {
        // also for packets that are not ordinary, such as a container's: they ask `main`
        let mut winning = Winning { tables: vec![MAIN], min_length: 1 };
        let mut beat = |route: Option<&Route>| {
            let needed = route.map_or(0, |route| route.network.prefix_len().saturating_add(1));
            winning.min_length = winning.min_length.max(needed);
        };
        beat(self.best(MAIN, ip));
        let (mut unbeaten, mut hardest) = (None, self.best(MAIN, ip));
        let mut suppressed = 0;
        let ended = self.walk(ip, |rule, certain| {
            let over = if certain { Then::Stop } else { Then::Continue };
            let table = match rule.action {
                RuleAction::Table(table) => table,
                _ if certain => {
                    unbeaten = Some(Holder::Rule(rule, narrowed_by(rule, everything(ip))));
                    return Then::Stop;
                }
                _ => return Then::Continue, // some packets are refused on purpose
            };
            let longest = length.saturating_add(MOST_HALVINGS).min(everything(ip).max_prefix_len());
            let needed = rule.suppress_prefix_length.map_or(0, |length| length.saturating_add(1));
            // a rule that passes over whatever we could put there
            let is_futile = needed > u32::from(longest);
            if table == MAIN {
                if is_futile {
                    return Then::Continue;
                }
                suppressed = suppressed.max(needed);
                return over;
            }
            let best = self.best(table, ip);
            let Some(route) = best.filter(|route| !is_passed_over(route, rule)) else {
                if is_futile || !ours.contains(&table) {
                    return Then::Continue;
                }
                suppressed = suppressed.max(needed);
                beat(best);
                return over;
            };
            if table == LOCAL {
                // never ours: what the machine itself answers to
                unbeaten = Some(Holder::Route(route, route.network.trunc()));
                return Then::Stop;
            }
            if !is_futile {
                suppressed = suppressed.max(needed);
            }
            if !ours.contains(&table) {
                ours.push(table);
            }
            beat(Some(route));
            if hardest.is_none_or(|hardest| hardest.network.prefix_len() < route.network.prefix_len()) {
                hardest = Some(route);
            }
            if is_futile { Then::Continue } else { over }
        });
        if let Some(unbeaten) = unbeaten {
            return Err(unbeaten);
        }
        if !ended {
            return Err(Holder::Nobody);
        }
        winning.min_length = winning.min_length.max(u8::try_from(suppressed).unwrap_or(u8::MAX));
        if winning.min_length > everything(ip).max_prefix_len() {
            return Err(hardest.map_or(Holder::Nobody, |route| Holder::Route(route, route.network.trunc())));
        }
        winning.tables.extend(ours.iter());
        Ok(winning)
    }

    /// The route that packets to `ip` take, unless it is a default route.
    pub(super) fn specific(&self, ip: IpAddr) -> Option<&Route> {
        self.holders(ip, 0).into_iter().find_map(|holder| match holder {
            Holder::Route(route, _) => Some(route),
            Holder::Rule(..) | Holder::Nobody => None,
        })
    }

    /// Routes of tables that ordinary packets consult.
    pub(super) fn consulted(&self) -> impl Iterator<Item = &Route> {
        let asks = |rule: &Rule, table| {
            rule.action == RuleAction::Table(table) && selects(rule, None, &self.sources) != Selected::Never
        };
        self.routes.iter().filter(move |route| {
            let rules = if is_v4(&route.network) { &self.rules_v4 } else { &self.rules_v6 };
            rules.iter().any(|rule| asks(rule, route.table))
        })
    }

    pub(super) fn link(&self, index: Option<u32>) -> Option<&Link> {
        self.links.iter().find(|link| Some(link.index) == index)
    }

    /// The rules that a packet to `ip` may come by, in order, and whether every ordinary packet that comes there is
    /// selected. A jump goes forward only, so one pass sees all of them. Tells whether some rule stopped every packet.
    fn walk<'a>(&'a self, ip: IpAddr, mut each: impl FnMut(&'a Rule, bool) -> Then) -> bool {
        let rules = if ip.is_ipv4() { &self.rules_v4 } else { &self.rules_v6 };
        let mut reached = vec![false; rules.len() + 1];
        reached[0] = true;
        for (at, rule) in rules.iter().enumerate() {
            if !reached[at] {
                continue;
            }
            let selected = selects(rule, Some(ip), &self.sources);
            let mut goes_on = selected != Selected::All;
            match rule.action {
                _ if selected == Selected::Never => {}
                RuleAction::Nop => goes_on = true,
                RuleAction::Goto(priority) => match rules.iter().position(|rule| rule.priority == priority) {
                    Some(target) if target > at => reached[target] = true,
                    _ => goes_on = true,
                },
                _ => goes_on |= each(rule, selected == Selected::All) == Then::Continue,
            }
            reached[at + 1] |= goes_on;
        }
        !reached[rules.len()]
    }

    fn best(&self, table: u32, ip: IpAddr) -> Option<&Route> {
        self.routes.iter().find(|route| route.table == table && route.network.contains(&ip))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Continue,
    Stop,
}

/// The kernel asks the next rule.
fn is_passed_over(route: &Route, rule: &Rule) -> bool {
    let is_suppressed =
        rule.suppress_prefix_length.is_some_and(|length| u32::from(route.network.prefix_len()) <= length);
    route.kind == RouteKind::Throw || (is_suppressed && !throws_away(route.kind))
}

pub(super) fn throws_away(kind: RouteKind) -> bool {
    matches!(kind, RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit)
}

/// A default route in a table that a rule asks for 10.0.0.0/8 only is a route to 10.0.0.0/8.
fn narrowed_by(rule: &Rule, network: IpNet) -> IpNet {
    match rule.to {
        Some(to) if !rule.invert && network.contains(&to) => to.trunc(),
        _ => network,
    }
}

fn neighbours(machine: &Machine, own: &Own) -> Vec<IpNet> {
    let others = machine.addresses.iter().filter(|address| !own.links.contains(&address.link));
    others.map(|address| address.net.trunc()).collect()
}

fn everything(ip: IpAddr) -> IpNet {
    IpNet::new_assert(ip, 0).trunc()
}

fn is_v4(net: &IpNet) -> bool {
    matches!(net, IpNet::V4(_))
}

/// Rules by priority, equal ones in the order in which the kernel told them. A family without any is one whose rules
/// were not looked at.
fn sorted_rules(machine: &Machine, v6: bool) -> Vec<Rule> {
    let mut rules: Vec<Rule> = machine.rules.iter().filter(|rule| rule.v6 == v6).cloned().collect();
    if rules.is_empty() {
        rules = vec![Rule::lookup(v6, 0, LOCAL), Rule::lookup(v6, 32766, MAIN)];
    }
    rules.sort_by_key(|rule| rule.priority);
    rules
}

/// The kernel has a local route for each address; where none was told, the address itself says what it means.
fn untold_routes(address: &Address, machine: &Machine) -> Vec<Route> {
    let ip = address.net.addr();
    let is_told = |route: &Route| route.kind == RouteKind::Local && route.network.contains(&ip);
    if machine.routes.iter().any(is_told) {
        return Vec::new();
    }
    let route = |table, network, kind| Route {
        table,
        network,
        kind,
        link: Some(address.link),
        gateway: None,
        metric: 0,
    };
    let mut routes = vec![route(LOCAL, ip.into(), RouteKind::Local)];
    if address.net.prefix_len() < address.net.max_prefix_len() {
        routes.push(route(MAIN, address.net.trunc(), RouteKind::Unicast));
    }
    routes
}
