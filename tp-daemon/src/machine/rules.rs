//! `RTM_NEWRULE` as policy rules.

use ipnet::IpNet;
use tp_core::machine::{Rule, RuleAction};

use super::attributes::{Attributes, word};
use super::kernel::{Family, Message};

/// `fib_rule_hdr`: family, destination and source length, TOS, table, reserved, action, flags.
const FIXED: usize = 12;

const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_GOTO: u16 = 4;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TUN_ID: u16 = 12;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_OIFNAME: u16 = 17;
const FRA_L3MDEV: u16 = 19;
const FRA_UID_RANGE: u16 = 20;
const FRA_IP_PROTO: u16 = 22;
const FRA_SPORT_RANGE: u16 = 23;
const FRA_DPORT_RANGE: u16 = 24;
const FRA_DSCP: u16 = 25;
const FRA_FLOWLABEL: u16 = 26;

/// Selectors that tp-core does not tell apart.
const OTHER: [u16; 7] =
    [FRA_TUN_ID, FRA_L3MDEV, FRA_IP_PROTO, FRA_SPORT_RANGE, FRA_DPORT_RANGE, FRA_DSCP, FRA_FLOWLABEL];

const FIB_RULE_INVERT: u32 = 2;
/// A goto whose target is not there: the kernel passes over it.
const FIB_RULE_UNRESOLVED: u32 = 4;
/// The kernel's `-1`.
const NONE: u32 = u32::MAX;

/// `None` for what is no rule of that family.
pub(super) fn rule(message: &Message, family: Family) -> Option<Rule> {
    let payload = &message.payload;
    let [number, to_length, from_length, tos, table, _, _, action] = *payload.first_chunk()?;
    if number != family.number() {
        return None;
    }
    let flags = word(payload, 8)?;
    let attributes = Attributes::of(payload.get(FIXED..)?);
    let table = attributes.number(FRA_TABLE).unwrap_or_else(|| u32::from(table));
    let action = match action {
        1 => RuleAction::Table(table),
        2 if flags & FIB_RULE_UNRESOLVED == 0 => {
            attributes.number(FRA_GOTO).map_or(RuleAction::Nop, RuleAction::Goto)
        }
        6 => RuleAction::Blackhole,
        7 => RuleAction::Unreachable,
        8 => RuleAction::Prohibit,
        _ => RuleAction::Nop,
    };
    let network = |kind, length| {
        let net = IpNet::new(attributes.ip(kind)?, length).ok()?;
        (length > 0).then(|| net.trunc())
    };
    Some(Rule {
        priority: attributes.number(FRA_PRIORITY).unwrap_or(0),
        v6: family == Family::V6,
        action,
        from: network(FRA_SRC, from_length),
        to: network(FRA_DST, to_length),
        fwmark: fwmark(attributes),
        invert: flags & FIB_RULE_INVERT != 0,
        iif: attributes.text(FRA_IIFNAME),
        oif: attributes.text(FRA_OIFNAME),
        uids: uids(attributes),
        suppress_prefix_length: attributes.number(FRA_SUPPRESS_PREFIXLEN).filter(|length| *length != NONE),
        other_selector: tos != 0 || OTHER.iter().any(|kind| attributes.has(*kind)),
    })
}

/// A mask may come with no mark at all: the mark is zero then.
fn fwmark(attributes: Attributes<'_>) -> Option<(u32, u32)> {
    let (mark, mask) = (attributes.number(FRA_FWMARK), attributes.number(FRA_FWMASK));
    let mask = mask.or_else(|| mark.map(|_| u32::MAX))?;
    Some((mark.unwrap_or(0), mask))
}

fn uids(attributes: Attributes<'_>) -> Option<(u32, u32)> {
    let range = attributes.bytes(FRA_UID_RANGE)?;
    Some((word(range, 0)?, word(range, 4)?))
}
