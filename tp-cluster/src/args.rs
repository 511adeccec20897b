//! Command line and environment. The chart sets the environment; the flags are for `--standalone`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use tp_core::subnets::{Strategy, parse_list};

/// The cluster's side of tp.
#[derive(Parser, Debug)]
#[command(name = "tp-traffic", version, about)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Serve clients: the cluster's networks and names, and tunnels to whatever they dial.
    Manager(Box<ManagerArgs>),
    /// Be the far end of `tp bench --sink ADDR:PORT`: takes, gives and echoes whatever comes, over TCP and UDP
    Sink(SinkArgs),
}

#[derive(Args, Clone, Debug)]
pub struct SinkArgs {
    /// Address to listen on; port 0 takes a free one. Whoever reaches it may use it
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: SocketAddr,

    /// error, warn, info, debug or trace
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,
}

#[derive(Args, Clone, Debug)]
pub struct ManagerArgs {
    /// error, warn, info, debug or trace
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,

    /// Open no sinks for `tp bench`
    #[arg(long, env = "TP_NO_BENCH_SINK")]
    pub no_bench_sink: bool,

    #[command(flatten)]
    pub standalone: StandaloneArgs,
    #[command(flatten)]
    pub client: ClientArgs,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Without Kubernetes.
#[derive(Args, Clone, Debug)]
pub struct StandaloneArgs {
    /// Serve networks that are no cluster: those of --subnet, as this machine reaches them
    #[arg(long)]
    pub standalone: bool,

    /// Address to listen on; port 0 takes a free one
    #[arg(long, requires = "standalone", value_name = "ADDR:PORT", default_value = "0.0.0.0:7900")]
    pub listen: SocketAddr,

    /// Host name or address that clients reach this machine by, for the URL to join [default: the address of --listen]
    #[arg(long, requires = "standalone", value_name = "HOST")]
    pub advertise: Option<String>,

    /// A network that clients may reach through this manager; may be given more than once
    #[arg(long = "subnet", requires = "standalone", value_name = "CIDR")]
    pub subnets: Vec<IpNet>,

    /// Address of a machine that runs what is behind this manager, where the client can see it too, e.g. a VM; may be
    /// given more than once. Clients refuse connections into the tunnel that come from its side: they would go in circles
    #[arg(long = "node-address", requires = "standalone", value_name = "IP")]
    pub node_addresses: Vec<IpAddr>,

    /// DNS server to ask [default: those of /etc/resolv.conf, for complete names only]
    #[arg(long, requires = "standalone", value_name = "ADDR[:PORT]", value_parser = dns_server)]
    pub dns: Vec<SocketAddr>,

    /// A name to answer without asking, e.g. --host echo.default.svc.cluster.local=10.96.0.10
    #[arg(long = "host", requires = "standalone", value_name = "NAME=ADDR", value_parser = static_name)]
    pub hosts: Vec<(String, IpAddr)>,

    /// Domain of the names that are this manager's own
    #[arg(long, requires = "standalone", value_name = "DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,

    /// Directory that keeps certificate and token, so that the URL to join outlives a restart
    #[arg(long, requires = "standalone", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Also write the URL to join to this file
    #[arg(long, requires = "standalone", value_name = "FILE")]
    pub join_file: Option<PathBuf>,

    /// Neither TLS nor token: for tests, on a loopback or private address
    #[arg(long, requires = "standalone")]
    pub insecure_plaintext: bool,
}

/// What clients are told beside the networks.
#[derive(Args, Clone, Debug)]
pub struct ClientArgs {
    /// Networks that clients route to this manager too
    #[arg(long, env = "CLIENT_ROUTING_ALSO_PROXY_SUBNETS", value_name = "CIDRS", default_value = "", value_parser = nets)]
    pub also_proxy: Nets,
    /// Networks that clients never route to this manager
    #[arg(long, env = "CLIENT_ROUTING_NEVER_PROXY_SUBNETS", value_name = "CIDRS", default_value = "", value_parser = nets)]
    pub never_proxy: Nets,
    /// Networks that clients route even if they have them already
    #[arg(long, env = "CLIENT_ROUTING_ALLOW_CONFLICTING_SUBNETS", value_name = "CIDRS", default_value = "", value_parser = nets)]
    pub allow_conflicting: Nets,
    /// Name suffixes that are never looked up in the cluster
    #[arg(long, env = "CLIENT_DNS_EXCLUDE_SUFFIXES", value_name = "SUFFIXES", default_value = "", value_parser = words)]
    pub dns_exclude_suffixes: Words,
    /// Name suffixes that are looked up in the cluster
    #[arg(long, env = "CLIENT_DNS_INCLUDE_SUFFIXES", value_name = "SUFFIXES", default_value = "", value_parser = words)]
    pub dns_include_suffixes: Words,
    /// File with the configuration that clients fetch
    #[arg(long, env = "CLIENT_CONFIG_FILE", value_name = "FILE")]
    pub client_config: Option<PathBuf>,
}

/// Set by the chart (facts/telepresence-wire.md §9); no flags, since nobody starts a manager in a pod by hand.
#[derive(Args, Clone, Debug)]
pub struct ClusterArgs {
    #[arg(long, hide = true, env = "SERVER_PORT", default_value_t = 8081)]
    pub server_port: u16,
    #[arg(long, hide = true, env = "MANAGER_NAMESPACE", default_value = "")]
    pub manager_namespace: String,
    /// Both families, separated by commas
    #[arg(long, hide = true, env = "POD_IPS", default_value = "", value_parser = ips)]
    pub pod_ips: Ips,
    #[arg(long, hide = true, env = "POD_IP", default_value = "", value_parser = ips)]
    pub pod_ip: Ips,
    #[arg(long, hide = true, env = "POD_CIDR_STRATEGY", default_value = "auto", value_parser = str::parse::<Strategy>)]
    pub pod_cidr_strategy: Strategy,
    #[arg(long, hide = true, env = "POD_CIDRS", default_value = "", value_parser = nets)]
    pub pod_cidrs: Nets,
    #[arg(long, hide = true, env = "MANAGED_NAMESPACES", default_value = "", value_parser = words)]
    pub managed_namespaces: Words,
    /// Address of the API server's own service
    #[arg(long, hide = true, env = "KUBERNETES_SERVICE_HOST", default_value = "", value_parser = ips)]
    pub kubernetes_service: Ips,
}

#[derive(Args, Clone, Debug)]
pub struct LimitArgs {
    /// A client that gives no sign of life for this long is forgotten
    #[arg(long, env = "CLIENT_CONNECTION_TTL", value_name = "DURATION", default_value = "24h", value_parser = go_duration)]
    pub session_ttl: Duration,
    /// Connections and UDP associations that one client may have at a time
    #[arg(long, env = "TP_MAX_FLOWS", value_name = "N", default_value_t = 16_384)]
    pub max_flows: usize,
    /// Largest message that is accepted, in bytes (a Kubernetes quantity)
    #[arg(long, env = "GRPC_MAX_RECEIVE_SIZE", value_name = "SIZE", default_value = "4Mi", value_parser = quantity)]
    pub max_message: usize,
}

// clap takes a bare `Vec<T>` for an option that may be repeated; these are one value with many words.
/// Networks of one environment variable.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Nets(pub Vec<IpNet>);
/// Words of one environment variable.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Words(pub Vec<String>);
/// Addresses of one environment variable.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ips(pub Vec<IpAddr>);

fn nets(text: &str) -> Result<Nets, String> {
    parse_list(text).map(Nets)
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a clap value parser")]
fn words(text: &str) -> Result<Words, String> {
    Ok(Words(text.split([' ', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect()))
}

fn ips(text: &str) -> Result<Ips, String> {
    let Words(words) = words(text)?;
    let parsed: Result<_, _> = words.iter().map(|word| word.parse()).collect();
    parsed.map(Ips).map_err(|_| format!("{text:?} is no list of IP addresses"))
}

fn dns_server(text: &str) -> Result<SocketAddr, String> {
    let server = text.parse().or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)));
    server.map_err(|_| format!("{text:?} is neither ADDRESS nor ADDRESS:PORT"))
}

fn static_name(text: &str) -> Result<(String, IpAddr), String> {
    let (name, ip) = text.split_once('=').ok_or("NAME=ADDRESS is expected")?;
    let ip = ip.parse().map_err(|_| format!("{ip:?} is no IP address"))?;
    Ok((name.to_owned(), ip))
}

/// A duration as Go writes it: `24h`, `1h30m`, `500ms`.
fn go_duration(text: &str) -> Result<Duration, String> {
    let error = || format!("{text:?} is no duration like 24h or 1h30m");
    let mut rest = text;
    let mut total = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
        let number: f64 = rest[..digits].parse().map_err(|_| error())?;
        let unit_end =
            rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| digits + end);
        total += number
            * match &rest[digits..unit_end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return Err(error()),
            };
        rest = &rest[unit_end..];
    }
    Duration::try_from_secs_f64(total).map_err(|_| error())
}

/// A Kubernetes quantity in bytes: `4Mi`, `5M`, `4194304`.
fn quantity(text: &str) -> Result<usize, String> {
    let error = || format!("{text:?} is no quantity like 4Mi");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: usize = text[..digits].parse().map_err(|_| error())?;
    let unit: usize = match &text[digits..] {
        "" => 1,
        "k" => 1000,
        "M" => 1000 * 1000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return Err(error()),
    };
    number.checked_mul(unit).filter(|size| *size > 0).ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_writes_them() {
        assert_eq!(go_duration("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(go_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(go_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(go_duration("500ms"), Ok(Duration::from_millis(500)));
        for wrong in ["24", "h", "-1h", "1d", "1h30", "1..2s", "9999999999999999999h"] {
            assert!(go_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn quantities() {
        assert_eq!(quantity("4Mi"), Ok(4 << 20));
        assert_eq!(quantity("4194304"), Ok(4 << 20));
        for wrong in ["", "Mi", "4Mb", "0", "99999999999999999Gi"] {
            assert!(quantity(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_charts_environment_is_understood_when_empty() {
        assert_eq!(nets(""), Ok(Nets::default()));
        assert_eq!(words(""), Ok(Words::default()));
        assert_eq!(ips(""), Ok(Ips::default()));
        assert_eq!(ips("10.0.0.1,fd00::1").map(|ips| ips.0.len()), Ok(2));
        assert!(nets("10.0.0.0/8 x").is_err());
    }

    #[test]
    fn flags() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        let line = "tp-traffic manager --standalone --subnet 10.0.0.0/8 --subnet fd00::/8 --dns 10.0.0.53 --host a=10.0.0.1";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let Command::Manager(args) = cli.command else { panic!() };
        assert_eq!(args.standalone.subnets.len(), 2);
        assert_eq!(args.standalone.dns, ["10.0.0.53:53".parse().unwrap()]);
        // flags that would silently mean nothing are refused
        assert!(Cli::try_parse_from("tp-traffic manager --subnet 10.0.0.0/8".split(' ')).is_err());
    }
}
