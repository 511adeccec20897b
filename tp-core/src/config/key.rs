//! The table of keys: what each is called, what it takes, what it is unless set, and what it does.
//!
//! Parser, view, JSON schema and the table in docs/configuration.md all come from here.

use super::kind::Kind;

/// What stands in the table about a key.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// `routing.alsoProxySubnets`
    pub path: &'static str,
    /// Other names of the same key, in files and in the kubeconfig.
    pub aliases: &'static [&'static str],
    pub kind: Kind,
    /// As YAML.
    pub default: &'static str,
    /// Lists that are added up over all layers, in place of the highest layer's alone.
    pub adds_up: bool,
    pub effect: Effect,
    /// One sentence or two, for docs/configuration.md and the schema.
    pub about: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    Now,
    /// It is used before the manager can be asked: what the manager says about it is too late.
    BeforeManager,
    /// Accepted and kept for a part of tp that does not exist yet.
    NotYet,
    /// Telepresence's; tp has no use for it.
    NotNeeded,
}

macro_rules! keys {
    ($($key:ident = $path:literal $(or $alias:literal)*, $kind:expr, $default:literal $($adds:ident)?, $effect:ident, $about:literal;)*) => {
        /// Every key there is.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Key { $($key,)* }

        impl Key {
            pub const ALL: &[Self] = &[$(Self::$key,)*];

            pub const fn spec(self) -> &'static Spec {
                match self {
                    $(Self::$key => &Spec {
                        path: $path,
                        aliases: &[$($alias),*],
                        kind: $kind,
                        default: $default,
                        adds_up: adds_up!($($adds)?),
                        effect: Effect::$effect,
                        about: $about,
                    },)*
                }
            }
        }
    };
}

macro_rules! adds_up {
    () => {
        false
    };
    (add) => {
        true
    };
}

keys! {
    AlsoProxy = "routing.alsoProxySubnets" or "routing.alsoProxy" or "also-proxy", Kind::Subnets, "[]" add, Now,
        "Networks that are routed to the cluster besides its own; the most specific of all networks decides.";
    NeverProxy = "routing.neverProxySubnets" or "routing.neverProxy" or "never-proxy", Kind::Subnets, "[]" add, Now,
        "Networks that are never routed to the cluster. The API server, the manager and this machine's resolvers never are.";
    AllowConflicting = "routing.allowConflictingSubnets" or "routing.allowConflicting" or "allow-conflicting-subnets", Kind::Subnets, "[]" add, Now,
        "Networks in which the cluster's routes win over routes that this machine has already, a VPN's for example.";
    AutoResolveConflicts = "routing.autoResolveConflicts", Kind::Bool, "true", Now,
        "Whether a conflict that nobody allowed resolves itself: what both want is then reached under virtual addresses, by name. If not, `tp connect` fails and lists every conflict.";
    RecursionGuard = "routing.recursionGuard", Kind::Bool, "true", Now,
        "Whether connections that come from behind an interface where the cluster's nodes or pods are, and would go back into the tunnel, are refused.";
    RecursionBlock = "routing.recursionBlockDuration", Kind::Duration, "0s", Now,
        "For so long after a connection to an address and port was made, further connections to them are refused. For clusters that run on this machine and send what they do not know back to it; 0 is off. `recursionGuard` needs no timer.";
    VirtualSubnet = "routing.virtualSubnet" or "cluster.virtualIPSubnet", Kind::SubnetV4, "246.246.0.0/16", Now,
        "Where virtual addresses are taken from.";
    VirtualSubnetV6 = "routing.virtualSubnetV6", Kind::SubnetV6, "fd74:7076::/64", Now,
        "The same for IPv6.";
    ProxyVia = "routing.proxyVia", Kind::ProxyVia, "[]" add, Now,
        "Networks behind virtual addresses: `CIDR=WORKLOAD` leaves the cluster's side from an agent of WORKLOAD, `CIDR` alone from the manager. In place of a CIDR: `also`, `service`, `pods`, `all`.";

    ExcludeSuffixes = "dns.excludeSuffixes" or "dns.exclude-suffixes", Kind::Suffixes, "['.com', '.io', '.net', '.org', '.ru']", Now,
        "Names under these are not tried in the cluster, unless a longer suffix of `includeSuffixes` matches.";
    IncludeSuffixes = "dns.includeSuffixes" or "dns.include-suffixes", Kind::Suffixes, "[]", Now,
        "Names under these are the cluster's.";
    Excludes = "dns.excludes", Kind::Names, "[]", Now,
        "Names that are never asked for in the cluster, also with a search domain of the cluster or of this machine after them.";
    Mappings = "dns.mappings", Kind::Mappings, "[]", Now,
        "Names that stand for an address, or for another name, which is then looked up in the cluster.";
    LookupTimeout = "dns.lookupTimeout" or "dns.lookup-timeout", Kind::Duration, "4.5s", Now,
        "For so long the cluster may look for a name.";
    DnsLocalIp = "dns.localIP" or "dns.local-ip", Kind::Anything, "null", NotNeeded,
        "tp follows the machine's own DNS servers by itself.";
    DnsRemoteIp = "dns.remoteIP" or "dns.remote-ip", Kind::Anything, "null", NotNeeded,
        "tp's DNS server is on its own device.";
    RecursionCheck = "dns.recursionCheck", Kind::Anything, "null", NotNeeded,
        "tp notices by itself when a cluster asks this machine back.";

    ClusterConnect = "timeouts.clusterConnect", Kind::Duration, "10s", BeforeManager,
        "For so long a connection to the API server may take to be made; `--request-timeout` goes before it.";
    ManagerConnect = "timeouts.trafficManagerConnect", Kind::Duration, "15s", BeforeManager,
        "For so long the connection to the manager may take, then its first answer, then its first report of the cluster's networks.";
    ManagerApi = "timeouts.trafficManagerAPI", Kind::Duration, "10s", BeforeManager,
        "For so long the manager may take for an answer while connected.";
    // longer than the kernel's own verdict on an absent neighbour (3 s), so that the app hears that verdict
    EndpointDial = "timeouts.endpointDial", Kind::Duration, "10s", Now,
        "For so long the connect in the cluster may take on behalf of an app.";
    RoundtripLatency = "timeouts.roundtripLatency", Kind::Duration, "2s", Now,
        "Added to `endpointDial` for the way to the cluster and back.";
    AgentArrival = "timeouts.agentArrival" or "timeouts.agentInstall", Kind::Duration, "30s", Now,
        "For so long an agent may take to appear when `proxyVia` needs one.";
    Intercept = "timeouts.intercept", Kind::Duration, "30s", NotYet,
        "For so long an intercept may take to begin.";
    Helm = "timeouts.helm", Kind::Duration, "30s", NotYet,
        "`tp helm` has a flag of its own, `--timeout`.";
    ConnectivityCheck = "timeouts.connectivityCheck", Kind::Duration, "0s", NotNeeded,
        "tp compares with the machine's routes and does not probe.";
    ProxyDial = "timeouts.proxyDial", Kind::Duration, "5s", NotNeeded,
        "Part of `clusterConnect`.";
    FtpReadWrite = "timeouts.ftpReadWrite", Kind::Duration, "1m0s", NotYet,
        "For mounts.";
    FtpShutdown = "timeouts.ftpShutdown", Kind::Duration, "2m0s", NotYet,
        "For mounts.";
    ContainerShutdown = "timeouts.containerShutdown", Kind::Duration, "0s", NotNeeded,
        "tp starts no containers.";

    RootDaemonLevel = "logLevels.rootDaemon", Kind::Level, "info", Now,
        "What the daemon's log tells. tp has one daemon: of this and `userDaemon`, the one that tells more.";
    UserDaemonLevel = "logLevels.userDaemon", Kind::Level, "info", Now,
        "The same.";
    CliLevel = "logLevels.cli", Kind::Anything, "null", NotNeeded,
        "`tp` itself writes no log.";

    ManagerNamespace = "cluster.defaultManagerNamespace" or "manager.namespace", Kind::Name, "null", BeforeManager,
        "Namespace of the traffic-manager. If not set: `ambassador`, the context's namespace, then wherever there is one.";
    MappedNamespaces = "cluster.mappedNamespaces", Kind::NameList, "[]", Now,
        "The only namespaces whose services can be reached as `service.namespace`. Empty: all.";
    AgentPortForward = "cluster.agentPortForward", Kind::Bool, "true", Now,
        "Whether agents are reached by port-forwards of their own. If not, or if that is refused, by way of the manager.";
    ConnectFromRootDaemon = "cluster.connectFromRootDaemon", Kind::Anything, "null", NotNeeded,
        "tp has one daemon.";

    InterceptPort = "intercept.defaultPort", Kind::Port, "8080", NotYet,
        "Port of this machine that intercepted traffic is sent to.";
    InterceptProtocol = "intercept.appProtocolStrategy", Kind::OneOf(&["http2Probe", "portName", "http", "http2"]), "http2Probe", NotYet,
        "How the protocol of an intercepted port is found out.";
    InterceptFtp = "intercept.useFtp", Kind::Bool, "false", NotYet,
        "Mount by FTP in place of SFTP.";
    InterceptMounts = "intercept.mountsRoot", Kind::Anything, "null", NotYet,
        "Directory of mounts.";
    Telemount = "intercept.telemount", Kind::Anything, "null", NotNeeded,
        "tp needs no volume plugin.";

    Images = "images", Kind::Anything, "null", NotNeeded,
        "The chart names the images.";
    Grpc = "grpc", Kind::Anything, "null", NotNeeded,
        "tp's messages have a fixed, small size.";
    RestApi = "telepresenceAPI", Kind::Anything, "null", NotNeeded,
        "tp has no such API.";
    Docker = "docker", Kind::Anything, "null", NotNeeded,
        "tp does not run in Docker.";
    HelmChart = "helm", Kind::Anything, "null", NotNeeded,
        "tp carries its chart with it.";
    Cloud = "cloud", Kind::Anything, "null", NotNeeded,
        "tp has no cloud.";
    ConnectionTtl = "connectionTTL", Kind::Anything, "null", NotNeeded,
        "A setting of the manager, which hands it out with the others.";
}

/// Of 1, where 1 is the same.
const ALIKE: f64 = 0.9;

impl Key {
    pub const fn path(self) -> &'static str {
        self.spec().path
    }

    /// The key of that name, or of that other name.
    pub fn find(path: &str) -> Option<Self> {
        let is = |key: &&Self| key.path() == path || key.spec().aliases.contains(&path);
        Self::ALL.iter().find(is).copied()
    }

    /// Whether `path` is a group of keys: `dns`.
    pub(super) fn is_group(path: &str) -> bool {
        Self::names().any(|name| name.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
    }

    /// All names of all keys.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().flat_map(|key| std::iter::once(key.path()).chain(key.spec().aliases.iter().copied()))
    }

    /// The name to suggest to somebody who wrote `wrong`.
    pub(super) fn nearest(wrong: &str) -> Option<&'static str> {
        let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        let lower = wrong.to_ascii_lowercase();
        let distance = |name: &'static str| {
            // the right word in the wrong group is as near as a slip
            let misplaced = 1 + strsim::osa_distance(&last(name), &last(wrong));
            (strsim::osa_distance(&name.to_ascii_lowercase(), &lower).min(misplaced), name)
        };
        let groups = Self::names().filter_map(|name| name.split_once('.').map(|(group, _)| group));
        let (distance, name) = Self::names().chain(groups).map(distance).min()?;
        if distance <= 1 + last(wrong).len() / 4 {
            return Some(name);
        }
        // no slip: another word for it, or half of one
        let likeness = |name: &'static str| (strsim::jaro_winkler(&name.to_ascii_lowercase(), &lower), name);
        let (likeness, name) = Self::names().map(likeness).max_by(|a, b| a.0.total_cmp(&b.0))?;
        (likeness > ALIKE).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_means_two_keys() {
        let mut names: Vec<_> = Key::names().collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        for name in names {
            assert!(!Key::is_group(name), "{name} is a key and a group");
        }
    }

    #[test]
    fn the_nearest_key() {
        for (wrong, right) in [
            ("routing.alsoProxySubnet", Some("routing.alsoProxySubnets")),
            ("routing.alsoproxysubnets", Some("routing.alsoProxySubnets")),
            ("alsoProxySubnets", Some("routing.alsoProxySubnets")),
            ("dns.neverProxySubnets", Some("routing.neverProxySubnets")),
            ("routeing", Some("routing")),
            ("timeouts.roundTripLatency", Some("timeouts.roundtripLatency")),
            ("cluster.virtualIpSubnet", Some("cluster.virtualIPSubnet")),
            ("alsoproxy", Some("also-proxy")),
            ("routing.recursionBlockTime", Some("routing.recursionBlockDuration")),
            ("dns.lookup", Some("dns.lookupTimeout")),
            ("color", None),
            ("telemetry", None),
            ("", None),
        ] {
            assert_eq!(Key::nearest(wrong), right, "{wrong}");
        }
    }
}
