//! The flags of `tp connect` that say how networks are routed. Each adds to what the configuration says.

use clap::Args;
use tp_core::routing::{Proxied, ProxyVia};
use tp_proto::daemon::ConnectRequest;

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Networks")]
pub(crate) struct RoutingFlags {
    /// Route these networks to the cluster too
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = subnet)]
    also_proxy: Vec<String>,
    /// Never route these networks to the cluster; the most specific of all networks decides
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = subnet)]
    never_proxy: Vec<String>,
    /// Let the cluster go first inside these networks, even if this machine routes them elsewhere
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = subnet)]
    allow_conflicting_subnets: Vec<String>,
    /// Hide a network behind virtual addresses; its connections leave from an agent of the workload
    ///
    /// Instead of a CIDR: `also`, `service`, `pods` or `all`.
    #[arg(long, value_name = "CIDR=WORKLOAD", value_parser = proxy_via)]
    proxy_via: Vec<String>,
    /// Hide a network (or also, service, pods, all) behind virtual addresses; the manager opens its connections
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = vnat)]
    vnat: Vec<String>,
}

impl RoutingFlags {
    pub(super) fn put_into(&self, request: &mut ConnectRequest) {
        request.also_proxy.clone_from(&self.also_proxy);
        request.never_proxy.clone_from(&self.never_proxy);
        request.allow_conflicting_subnets.clone_from(&self.allow_conflicting_subnets);
        request.proxy_via.clone_from(&self.proxy_via);
        request.vnat.clone_from(&self.vnat);
    }
}

fn subnet(text: &str) -> Result<String, String> {
    match text.parse::<Proxied>() {
        Ok(Proxied::Net(net)) => Ok(net.to_string()),
        _ => Err("not ADDRESS/LENGTH, like 10.0.0.0/8".to_owned()),
    }
}

fn proxy_via(text: &str) -> Result<String, String> {
    text.parse::<ProxyVia>().map(|via| via.to_string())
}

fn vnat(text: &str) -> Result<String, String> {
    ProxyVia::vnat(text).map(|via| via.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        flags: RoutingFlags,
    }

    fn parse(words: &[&str]) -> Result<RoutingFlags, String> {
        let words = std::iter::once(&"tp").chain(words);
        Cli::try_parse_from(words).map(|cli| cli.flags).map_err(|error| error.to_string())
    }

    #[test]
    fn lists_are_repeated_or_separated_by_commas() {
        let words =
            ["--also-proxy", "10.1.2.3/8,fd00::/8", "--also-proxy", "192.0.2.0/24", "--vnat", "pods,also"];
        let flags = parse(&[&words[..], &["--proxy-via", "all=echo"]].concat()).unwrap();
        assert_eq!(flags.also_proxy, ["10.0.0.0/8", "fd00::/8", "192.0.2.0/24"]);
        assert_eq!(flags.vnat, ["pods", "also"]);
        assert_eq!(flags.proxy_via, ["all=echo"]);
    }

    #[test]
    fn what_cannot_be_meant_is_said_at_once() {
        for words in [
            ["--never-proxy", "pods"],
            ["--also-proxy", "10.0.0.0/33"],
            ["--proxy-via", "pods"],
            ["--vnat", "pod"],
        ] {
            insta::assert_snapshot!(words.join(" ").replace(['/', '.'], "-"), parse(&words).unwrap_err());
        }
    }
}
