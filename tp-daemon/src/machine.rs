//! This machine's links, addresses, routes and policy rules, as its kernel tells them now.
//!
//! Nothing here is changed, and nothing here needs a privilege.

mod attributes;
mod kernel;
mod leaving;
mod links;
mod next_hops;
mod routes;
mod rules;
mod taken;
mod watch;

use std::io;

use tp_core::machine::Machine;

use crate::dataplane::{PAIR_HOST, TUN_NAME};
use crate::dns;

pub use leaving::{Leaving, leaves_by};
pub use taken::taken;
pub use watch::Watch;

use kernel::{ADDRESSES, Family, Kernel, LINKS, NEXT_HOPS, ROUTES, RULES};

/// Looks at everything once. What one dump says may be older by a moment than what the next says: [`Watch`] tells.
pub async fn look() -> io::Result<Machine> {
    let mut kernel = Kernel::open()?;
    let mut machine = Machine::default();
    for message in kernel.dump(LINKS, Family::Any).await? {
        machine.links.extend(links::link(&message));
    }
    for message in kernel.dump(ADDRESSES, Family::Any).await? {
        machine.addresses.extend(links::address(&message));
    }
    let mut routes = Vec::new();
    for family in [Family::V4, Family::V6] {
        for message in kernel.dump(ROUTES, family).await? {
            routes.extend(routes::route(&message, family));
        }
        match kernel.dump(RULES, family).await {
            Ok(messages) => {
                machine.rules.extend(messages.iter().filter_map(|message| rules::rule(message, family)));
            }
            // a kernel without policy routing goes by `local` and `main`
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {}
            Err(error) => return Err(error),
        }
    }
    // most kernels tell the devices with the route itself: net.ipv4.nexthop_compat_mode
    let next_hops = if routes.iter().any(routes::Found::is_indirect) {
        next_hops::table(&kernel.dump(NEXT_HOPS, Family::Any).await?)
    } else {
        next_hops::Table::default()
    };
    machine.routes = routes.into_iter().flat_map(|route| route.resolve(&next_hops)).collect();
    machine.resolvers = resolvers(&machine);
    Ok(machine)
}

/// Names of the devices that a daemon makes.
pub const OURS: [&str; 2] = [TUN_NAME, PAIR_HOST];

/// Systemd-resolved lists our own server with the others while we are connected.
fn resolvers(machine: &Machine) -> Vec<std::net::IpAddr> {
    let ours = |ip: &std::net::IpAddr| {
        machine.addresses.iter().any(|address| {
            address.net.contains(ip)
                && machine.link(address.link).is_some_and(|link| OURS.contains(&link.name.as_str()))
        })
    };
    let mut found = dns::resolvers();
    found.retain(|ip| !ours(ip));
    found
}

#[cfg(test)]
mod tests;
