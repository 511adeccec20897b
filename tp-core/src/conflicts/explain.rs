//! The error's text: every conflict, and the ways out with the exact commands.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use ipnet::IpNet;

use super::devices::docker_network;
use super::{Conflict, DeviceKind, Taken};

/// The command as the user gave it: `sudo tp connect --context lab`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandLine(pub String);

impl Default for CommandLine {
    fn default() -> Self {
        Self("sudo tp connect".into())
    }
}

/// The error as its two parts. Shown, there is a blank line between them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    pub message: String,
    pub hint: String,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n\nhint: {}", self.message, self.hint)
    }
}

pub fn explain(conflicts: &[Conflict], command: &CommandLine) -> Explanation {
    let CommandLine(command) = command;
    let count = conflicts.iter().map(|conflict| conflict.subnet).collect::<BTreeSet<_>>().len();
    let mut message = match count {
        1 => "a network of the cluster overlaps with what this machine uses; nothing was changed:".to_owned(),
        count => {
            format!(
                "{count} networks of the cluster overlap with what this machine uses; nothing was changed:"
            )
        }
    };
    for conflict in conflicts {
        let _ = write!(message, "\n  {}", line(conflict));
    }
    let mut hint = "three ways out:\n".to_owned();
    let (beatable, unbeatable): (Vec<&Conflict>, Vec<&Conflict>) =
        conflicts.iter().partition(|conflict| conflict.beatable);
    let _ = writeln!(hint, "{}", allow(&overlaps(&beatable), &overlaps(&unbeatable), command));
    let _ = writeln!(hint, "{}", avoid(&overlaps(&conflicts.iter().collect::<Vec<_>>()), command));
    hint.push_str(&remove(conflicts));
    Explanation { message, hint }
}

fn line(conflict: &Conflict) -> String {
    let Conflict { subnet, origin, overlap, way, .. } = conflict;
    let where_ = match way.what {
        Taken::Route(network) if network == *subnet => "is the same as the route",
        Taken::Route(network) if network.contains(subnet) => "lies in the route",
        Taken::Route(_) => "contains the route",
        Taken::Address(_) => "contains",
        _ => "is in the way of",
    };
    let partly = if overlap == subnet { String::new() } else { format!(", overlap {overlap}") };
    match way.what {
        Taken::Route(_) | Taken::Address(_) => format!("{subnet} ({origin}) {where_} {way}{partly}"),
        _ => format!("{subnet} ({origin}) is refused by {way}{partly}"),
    }
}

fn allow(beatable: &[IpNet], unbeatable: &[IpNet], command: &str) -> String {
    if beatable.is_empty() {
        return "  1. allow it: not here, no route of ours could win".to_owned();
    }
    let mut text = format!(
        "  1. allow it: the cluster wins these addresses, and what else has them is out of reach while connected\n       \
         {command} --allow-conflicting-subnets {}",
        joined(beatable, ",")
    );
    if !unbeatable.is_empty() {
        let vnat = joined_flags("--vnat", unbeatable);
        let _ = write!(text, " {vnat}\n     (no route wins {}, hence the --vnat)", joined(unbeatable, ", "));
    }
    text
}

fn avoid(all: &[IpNet], command: &str) -> String {
    let via: Vec<String> = all.iter().map(|net| format!("--proxy-via {net}=WORKLOAD")).collect();
    format!(
        "  2. avoid it: the cluster's names lead to virtual addresses, and everything stays in reach\n       \
         {command} {}\n     \
         or by the agent of a workload\n       \
         {command} {}\n     \
         or without any flag, with `routing: {{autoResolveConflicts: true}}` in config.yml",
        joined_flags("--vnat", all),
        via.join(" ")
    )
}

/// The third way: what is in the way goes, or tp goes where it is not.
fn remove(conflicts: &[Conflict]) -> String {
    let mut steps = BTreeSet::new();
    for Conflict { way, .. } in conflicts {
        let device = way.device.as_str();
        let step = match (way.kind, way.what) {
            (_, Taken::Rule(priority)) => format!("ip rule show priority {priority}   # who made this rule?"),
            (DeviceKind::Vpn, _) if device.starts_with("tailscale") => "sudo tailscale down".to_owned(),
            (DeviceKind::Vpn, Taken::Address(_)) => {
                format!("sudo ip link set {device} down   # or let the VPN hand out another address")
            }
            (DeviceKind::DockerBridge, _) => match docker_network(device) {
                Some(id) => format!("docker network rm {id}"),
                None => {
                    format!("set another \"bip\" in /etc/docker/daemon.json and restart Docker   # {device}")
                }
            },
            (
                DeviceKind::Vpn | DeviceKind::Bridge | DeviceKind::Blackhole | DeviceKind::Other,
                Taken::Route(net),
            ) => {
                let whose = if way.kind == DeviceKind::Vpn {
                    "   # until the VPN connects anew; not if the API server is behind it"
                } else {
                    ""
                };
                format!("sudo ip route del {}{whose}", route(net, way))
            }
            _ => continue, // nobody leaves their LAN for this
        };
        steps.insert(step);
    }
    let mut text = "  3. take what is in the way out of it".to_owned();
    for step in &steps {
        let _ = write!(text, "\n       {step}");
    }
    text.push_str(if steps.is_empty() { ": " } else { "\n     or " });
    text.push_str(
        "run tp in a container or network namespace with routes of its own: it changes only the namespace it is in",
    );
    text
}

/// As `ip route` takes it.
fn route(net: IpNet, way: &super::InTheWay) -> String {
    let mut text = net.to_string();
    if !way.device.is_empty() && way.kind != DeviceKind::Blackhole {
        let _ = write!(text, " dev {}", way.device);
    }
    if let Some(table) = way.table.filter(|table| *table != crate::machine::MAIN) {
        let _ = write!(text, " table {table}");
    }
    text
}

fn overlaps(conflicts: &[&Conflict]) -> Vec<IpNet> {
    IpNet::aggregate(&conflicts.iter().map(|conflict| conflict.overlap).collect::<Vec<_>>())
}

fn joined(nets: &[IpNet], separator: &str) -> String {
    nets.iter().map(IpNet::to_string).collect::<Vec<_>>().join(separator)
}

fn joined_flags(flag: &str, nets: &[IpNet]) -> String {
    nets.iter().map(|net| format!("{flag} {net}")).collect::<Vec<_>>().join(" ")
}
