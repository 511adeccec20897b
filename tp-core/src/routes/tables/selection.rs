//! Whether a policy rule selects apps' ordinary packets.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::machine::Rule;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Selected {
    Never,
    /// Those of some programs, users or ports.
    Some,
    All,
}

/// Without `to`, for some destination. `sources` are the networks of addresses that packets get once they are routed
/// to the TUN.
pub(super) fn selects(rule: &Rule, to: Option<IpAddr>, sources: &[IpNet]) -> Selected {
    let selected = all_selectors(rule, to, sources);
    match (rule.invert, selected) {
        (true, Selected::Never) => Selected::All,
        // without a destination: outside of the rule's networks it selects
        (true, Selected::All) if to.is_some() || rule.to.is_none() => Selected::Never,
        (true, Selected::All) => Selected::Some,
        (_, selected) => selected,
    }
}

fn all_selectors(rule: &Rule, to: Option<IpAddr>, sources: &[IpNet]) -> Selected {
    let never = to.is_some_and(|ip| rule.to.is_some_and(|net| !net.contains(&ip)))
        || rule.iif.as_deref().is_some_and(|name| name != "lo") // the kernel's name for "made here"
        || rule.oif.is_some()
        || rule.fwmark.is_some_and(|(value, mask)| value & mask != 0);
    if never {
        return Selected::Never;
    }
    let from = rule.from.filter(|net| net.prefix_len() > 0).map(|net| {
        // connect(2) asks twice: without a source, then with the one that the first answer gave
        let is_ours = sources.iter().any(|source| net.contains(&source.addr()));
        if is_ours { Selected::Some } else { Selected::Never }
    });
    let uids = rule.uids.map(|(first, last)| {
        // the highest is "no user"
        if first == 0 && last >= u32::MAX - 1 { Selected::All } else { Selected::Some }
    });
    let other = rule.other_selector.then_some(Selected::Some);
    [from, uids, other].into_iter().flatten().min().unwrap_or(Selected::All)
}
