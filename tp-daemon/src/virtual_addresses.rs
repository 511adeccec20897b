//! Virtual addresses in use on this workstation: tp-core decides, the dataplane is told, DNS and flows ask.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ipnet::IpNet;
use tp_core::addr::{ClusterAddr, DestAddr};
use tp_core::routes::{Hidden, Plan};
use tp_core::routing::{Exit, Routing};
use tp_core::vips::{Change, Entry, Vips};

use crate::dataplane::dump::VirtualAddressRow;
use crate::dns::{NoneLeft, Translation};

/// Cheap to clone.
#[derive(Clone)]
pub struct VirtualAddresses(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    tell: Tell,
}

/// How the dataplane hears of changes.
type Tell = Box<dyn Fn(&[Change]) -> io::Result<()> + Send + Sync>;

struct State {
    vips: Vips,
    pools: [IpNet; 2],
    /// The most specific network first.
    hidden: Vec<Hidden>,
    /// What the dataplane has not taken yet, in order.
    untold: Vec<Change>,
    /// What went wrong last, until it goes right again.
    trouble: Option<String>,
}

/// Where a flow has to go.
#[derive(Debug)]
pub enum Destination {
    /// The destination is the cluster address.
    Plain,
    Virtual {
        cluster: ClusterAddr,
        exit: Exit,
        in_use: InUse,
    },
    /// A virtual address that stands for nothing: an app has kept it for too long, or guessed.
    Vacant,
}

impl VirtualAddresses {
    /// `tell` must be quick: names wait for it.
    pub fn new(
        routing: &Routing,
        tell: impl Fn(&[Change]) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let pools = [routing.virtual_subnet_v4.into(), routing.virtual_subnet_v6.into()];
        let vips = Vips::new(routing.virtual_subnet_v4, routing.virtual_subnet_v6);
        let state = State { vips, pools, hidden: Vec::new(), untold: Vec::new(), trouble: None };
        Self(Arc::new(Inner { state: Mutex::new(state), tell: Box::new(tell) }))
    }

    /// From now on names inside these networks lead to virtual addresses. Those that are in use stay.
    pub fn follow(&self, plan: &Plan) {
        let mut state = self.0.state();
        state.hidden.clone_from(&plan.hidden);
        state.hidden.sort_by_key(|hidden| std::cmp::Reverse(hidden.network.prefix_len()));
        state.vips.set_inside(&plan.inside);
    }

    /// Where a flow to `dest` has to go. The virtual address stays what it is while the result lives.
    pub fn destination(&self, dest: DestAddr) -> Destination {
        let mut state = self.0.state();
        let vip = dest.ip();
        let found = state.vips.lookup(vip).map(|(cluster, exit)| (cluster, exit.clone()));
        match found {
            Some((cluster, exit)) => {
                state.vips.flow_started(vip);
                let in_use = InUse { vip, addresses: self.clone() };
                Destination::Virtual { cluster: ClusterAddr::new(cluster, dest.port()), exit, in_use }
            }
            None if state.pools.iter().any(|pool| pool.contains(&vip)) => Destination::Vacant,
            None => Destination::Plain,
        }
    }

    /// Takes back what has not been used for long.
    pub fn expire(&self, now: Instant) {
        let mut state = self.0.state();
        let changes = state.vips.expire(now);
        if let Err(error) = self.0.tell(&mut state, changes) {
            tracing::warn!(%error, "virtual addresses that are over stay in the kernel's map");
        }
    }

    /// Every one that stands for something. `inside` tells what the kernel rewrites it to, if it does.
    pub fn rows(&self, inside: impl Fn(IpAddr) -> Option<IpAddr>) -> Vec<VirtualAddressRow> {
        let row = |entry: Entry| VirtualAddressRow {
            vip: entry.vip,
            cluster: entry.cluster,
            inside: inside(entry.vip).unwrap_or(entry.vip),
            exit: match entry.exit {
                Exit::Manager => "manager".to_owned(),
                Exit::Workload(name) => name,
            },
            flows: entry.flows,
        };
        self.0.state().vips.entries().into_iter().map(row).collect()
    }

    /// How many stand for something.
    pub fn in_use(&self) -> usize {
        self.0.state().vips.entries().len()
    }

    /// Why a name could not be answered, while that is so.
    pub fn trouble(&self) -> Option<String> {
        self.0.state().trouble.clone()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under the lock: the dataplane must not hear of a change after a later one.
    fn tell(&self, state: &mut State, changes: Vec<Change>) -> io::Result<()> {
        state.untold.extend(changes);
        if !state.untold.is_empty() {
            (self.tell)(&state.untold)?;
            state.untold.clear();
        }
        Ok(())
    }
}

impl Translation for VirtualAddresses {
    fn to_app(&self, cluster: IpAddr) -> Result<Option<IpAddr>, NoneLeft> {
        let mut state = self.0.state();
        let Some(hidden) = state.hidden.iter().find(|hidden| hidden.network.contains(&cluster)) else {
            return Ok(None);
        };
        let exit = hidden.exit.clone();
        let given =
            state.vips.vip(cluster, &exit, Instant::now()).map_err(|error| error.to_string()).and_then(
                |(vip, changes)| match self.0.tell(&mut state, changes) {
                    Ok(()) => Ok(vip),
                    Err(error) => Err(format!("telling the kernel of the virtual address {vip}: {error}")),
                },
            );
        match given {
            Ok(vip) => {
                state.trouble = None;
                Ok(Some(vip))
            }
            Err(trouble) => {
                tracing::error!(%cluster, %exit, trouble, "no virtual address could be given");
                state.trouble = Some(trouble);
                Err(NoneLeft)
            }
        }
    }

    fn to_cluster(&self, vip: IpAddr) -> Option<IpAddr> {
        self.0.state().vips.lookup(vip).map(|(cluster, _)| cluster)
    }
}

/// A flow uses the virtual address.
pub struct InUse {
    vip: IpAddr,
    addresses: VirtualAddresses,
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.addresses.0.state().vips.flow_ended(self.vip, Instant::now());
    }
}

impl fmt::Debug for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InUse({})", self.vip)
    }
}

impl fmt::Debug for VirtualAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualAddresses").field("in_use", &self.in_use()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(hidden: &[(&str, Exit)]) -> Plan {
        let hidden = hidden
            .iter()
            .map(|(network, exit)| Hidden { network: network.parse().unwrap(), exit: exit.clone() })
            .collect();
        Plan { hidden, ..Plan::default() }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_flow_leaves_where_the_most_specific_network_says() {
        let addresses = VirtualAddresses::new(&Routing::default(), |_| Ok(()));
        let echo = Exit::Workload("echo".to_owned());
        addresses.follow(&plan(&[("10.0.0.0/8", Exit::Manager), ("10.9.0.0/16", echo.clone())]));
        let vip = addresses.to_app(ip("10.9.1.1")).unwrap().unwrap();
        let other = addresses.to_app(ip("10.8.1.1")).unwrap().unwrap();
        assert_ne!(vip, other);
        assert_eq!(addresses.to_app(ip("11.0.0.1")), Ok(None));
        assert_eq!(addresses.to_cluster(vip), Some(ip("10.9.1.1")));
        let Destination::Virtual { cluster, exit, .. } = addresses.destination(DestAddr::new(vip, 80)) else {
            panic!("no virtual address: {vip}");
        };
        assert_eq!((cluster, exit), (ClusterAddr::new(ip("10.9.1.1"), 80), echo));
        assert!(matches!(addresses.destination(DestAddr::new(ip("10.9.1.1"), 80)), Destination::Plain));
        assert!(matches!(addresses.destination(DestAddr::new(ip("246.246.200.1"), 80)), Destination::Vacant));
    }

    #[test]
    fn a_kernel_that_does_not_take_it_is_trouble_until_it_does() {
        let full = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let told = Arc::clone(&full);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&heard);
        let addresses = VirtualAddresses::new(&Routing::default(), move |changes| {
            if told.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            hears.lock().unwrap().extend_from_slice(changes);
            Ok(())
        });
        addresses.follow(&plan(&[("10.0.0.0/8", Exit::Manager)]));
        assert_eq!(addresses.to_app(ip("10.9.1.1")), Err(NoneLeft));
        assert!(addresses.trouble().unwrap().contains("out of memory"));
        full.store(false, std::sync::atomic::Ordering::Relaxed);
        let vip = addresses.to_app(ip("10.9.1.1")).unwrap().unwrap();
        assert_eq!(addresses.trouble(), None);
        assert!(matches!(heard.lock().unwrap().as_slice(), [Change::Add { vip: told, .. }] if *told == vip));
    }
}
