//! What `ip -j` shows and what was seen, both as sorted lines.

use serde_json::Value;
use tp_core::machine::{Machine, Route, RouteKind, RuleAction};

use crate::place::shown;

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

fn number(value: &Value, key: &str) -> Option<u64> {
    let value = value.get(key)?;
    value.as_u64().or_else(|| {
        let text = value.as_str()?;
        match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        }
    })
}

fn flag(value: &Value, flag: &str) -> bool {
    value["flags"].as_array().is_some_and(|flags| flags.iter().any(|it| it == flag))
}

pub(crate) fn links_shown() -> Vec<String> {
    let line = |link: &Value| {
        let kind = link.get("linkinfo").and_then(|info| text(info, "info_kind")).unwrap_or("");
        format!(
            "{} {} {kind} {} {} {}",
            link["ifindex"],
            text(link, "ifname").unwrap(),
            flag(link, "LOOPBACK"),
            flag(link, "POINTOPOINT"),
            flag(link, "UP")
        )
    };
    sorted(shown("-d link").iter().map(line).collect())
}

pub(crate) fn links_seen(machine: &Machine) -> Vec<String> {
    let links = machine.links.iter();
    let line = links.map(|link| {
        format!(
            "{} {} {} {} {} {}",
            link.index, link.name, link.kind, link.loopback, link.point_to_point, link.up
        )
    });
    sorted(line.collect())
}

pub(crate) fn addresses_shown() -> Vec<String> {
    let mut lines = Vec::new();
    for link in shown("addr") {
        for address in link["addr_info"].as_array().unwrap() {
            let local = text(address, "local").unwrap();
            let length = match text(address, "address") {
                Some(_peer) if local.contains(':') => 128,
                Some(_peer) => 32,
                None => address["prefixlen"].as_u64().unwrap(),
            };
            lines.push(format!("{} {local}/{length}", link["ifindex"]));
        }
    }
    sorted(lines)
}

pub(crate) fn addresses_seen(machine: &Machine) -> Vec<String> {
    sorted(machine.addresses.iter().map(|address| format!("{} {}", address.link, address.net)).collect())
}

pub(crate) fn routes_shown() -> Vec<String> {
    let mut lines = Vec::new();
    for family in ["-4", "-6"] {
        for route in shown(&format!("-d {family} route show table all")) {
            let destination = match text(&route, "dst").unwrap() {
                "default" if family == "-4" => "0.0.0.0/0".to_owned(),
                "default" => "::/0".to_owned(),
                dst if dst.contains('/') => dst.to_owned(),
                dst if family == "-4" => format!("{dst}/32"),
                dst => format!("{dst}/128"),
            };
            let kind = text(&route, "type").unwrap_or("unicast");
            let table = table(&route);
            let metric = number(&route, "metric").unwrap_or(0);
            let ways = route.get("nexthops").and_then(Value::as_array).cloned();
            for way in ways.unwrap_or_else(|| vec![route.clone()]) {
                let refuses = ["blackhole", "unreachable", "prohibit", "throw"].contains(&kind);
                let device = text(&way, "dev").filter(|_| !refuses).unwrap_or("-");
                let via = way.get("via").and_then(|via| text(via, "host"));
                let gateway = text(&way, "gateway").or(via).unwrap_or("-");
                lines.push(format!("{table} {destination} {kind} {device} {gateway} {metric}"));
            }
        }
    }
    sorted(lines)
}

pub(crate) fn routes_seen(machine: &Machine) -> Vec<String> {
    let line = |route: &Route| {
        let device = route.link.and_then(|index| machine.link(index)).map_or("-", |link| link.name.as_str());
        let kind = match route.kind {
            RouteKind::Unicast => "unicast",
            RouteKind::Local => "local",
            RouteKind::Broadcast => "broadcast",
            RouteKind::Blackhole => "blackhole",
            RouteKind::Unreachable => "unreachable",
            RouteKind::Prohibit => "prohibit",
            RouteKind::Throw => "throw",
            // the others of a machine like this one
            RouteKind::Other if route.network.prefix_len() == 128 => "anycast",
            RouteKind::Other => "multicast",
        };
        let gateway = route.gateway.map_or_else(|| "-".to_owned(), |gateway| gateway.to_string());
        format!("{} {} {kind} {device} {gateway} {}", route.table, route.network, route.metric)
    };
    sorted(machine.routes.iter().map(line).collect())
}

pub(crate) fn rules_shown() -> Vec<String> {
    let mut lines = Vec::new();
    for family in ["-4", "-6"] {
        for rule in shown(&format!("{family} rule")) {
            let network = |key: &str, length: &str| match text(&rule, key) {
                None | Some("all") => "-".to_owned(),
                Some(ip) => {
                    let whole = if family == "-4" { 32 } else { 128 };
                    format!("{ip}/{}", number(&rule, length).unwrap_or(whole))
                }
            };
            let action = match text(&rule, "action") {
                _ if rule.get("unresolved").is_some() => "nop".to_owned(),
                Some("to_tbl") | None => match number(&rule, "goto") {
                    Some(target) => format!("goto {target}"),
                    None if rule.get("nop").is_some() => "nop".to_owned(),
                    // whichever the packet's VRF has
                    None if rule.get("l3mdev").is_some() => "table 0".to_owned(),
                    None => format!("table {}", table(&rule)),
                },
                Some(action) => action.to_owned(),
            };
            let fwmark = number(&rule, "fwmark")
                .map(|mark| format!("{mark:#x}/{:#x}", number(&rule, "fwmask").unwrap_or(0xffff_ffff)));
            let uids = number(&rule, "uid_start").map(|first| format!("{first}-{}", rule["uid_end"]));
            let other = ["ipproto", "dport", "sport", "tos", "l3mdev", "dsfield"];
            lines.push(format!(
                "{family} {} {action} from {} to {} mark {} not {} iif {} oif {} uids {} suppress {} other {}",
                rule["priority"],
                network("src", "srclen"),
                network("dst", "dstlen"),
                fwmark.as_deref().unwrap_or("-"),
                rule.get("not").is_some(),
                text(&rule, "iif").unwrap_or("-"),
                text(&rule, "oif").unwrap_or("-"),
                uids.as_deref().unwrap_or("-"),
                number(&rule, "suppress_prefixlen").map_or_else(|| "-".to_owned(), |it| it.to_string()),
                other.iter().any(|key| rule.get(key).is_some()),
            ));
        }
    }
    sorted(lines)
}

pub(crate) fn rules_seen(machine: &Machine) -> Vec<String> {
    let rules = machine.rules.iter();
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let lines = rules.map(|rule| {
        let action = match rule.action {
            RuleAction::Table(table) => format!("table {table}"),
            RuleAction::Goto(target) => format!("goto {target}"),
            RuleAction::Nop => "nop".to_owned(),
            RuleAction::Blackhole => "blackhole".to_owned(),
            RuleAction::Unreachable => "unreachable".to_owned(),
            RuleAction::Prohibit => "prohibit".to_owned(),
        };
        format!(
            "{} {} {action} from {} to {} mark {} not {} iif {} oif {} uids {} suppress {} other {}",
            if rule.v6 { "-6" } else { "-4" },
            rule.priority,
            or_none(rule.from.map(|net| net.to_string())),
            or_none(rule.to.map(|net| net.to_string())),
            or_none(rule.fwmark.map(|(mark, mask)| format!("{mark:#x}/{mask:#x}"))),
            rule.invert,
            or_none(rule.iif.clone()),
            or_none(rule.oif.clone()),
            or_none(rule.uids.map(|(first, last)| format!("{first}-{last}"))),
            or_none(rule.suppress_prefix_length.map(|length| length.to_string())),
            rule.other_selector,
        )
    });
    sorted(lines.collect())
}

/// `ip` leaves `main` out, and names the others that it knows.
fn table(value: &Value) -> u64 {
    match value.get("table").and_then(Value::as_str) {
        None | Some("main") => 254,
        Some("local") => 255,
        Some("default") => 253,
        Some(number) => number.parse().unwrap(),
    }
}
