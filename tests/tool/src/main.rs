//! `tp-probe`: the program the tests put at both ends of a connection. It knows nothing of tp.
//!
//! Server: `tp-probe serve NAME` in the cluster, `tp-probe dns ...` as a name server, `tp-probe agent ...` beside a workload.
//! Client: every other verb does one thing on the workstation and prints one JSON object.
mod agent;
mod client;
mod crowd;
mod dns_message;
mod dns_server;
mod errno;
mod flood;
mod orders;
mod pattern;
mod relay;
mod script;
mod server;
mod small;
mod stalled;
mod transfer;
mod udp;

use std::process::ExitCode;

const USAGE: &str = "\
tp-probe serve NAME [ADDRESS]...           echo 7777 tcp/udp, script 7000, who 7778 tcp/udp, HTTP 80 and 8080
tp-probe serve-at NAME ADDRESS:PORT        there only: who for a line on tcp, echo on udp
tp-probe agent WORKLOAD NAMESPACE POD POD-IP MANAGER [TOKEN CERTIFICATE]   a traffic-agent; MANAGER is a URL
tp-probe relay LISTEN TARGET               a plain TCP relay, each an ADDRESS:PORT
tp-probe dns ADDR:53 LOG NAME=IP[,IP]...   name server; `*.SUFFIX=IP` matches below SUFFIX, `NAME=` is an empty answer
tp-probe connect HOST:PORT [SECONDS]       how connect() ends: open, ECONNREFUSED, ...
tp-probe echo HOST:PORT TEXT               one line there and back
tp-probe download|upload HOST BYTES SEED   every byte verified
tp-probe slow-reader HOST BYTES SEED MS    the app does not read for MS, then reads all
tp-probe client-half|server-half HOST BYTES SEED
tp-probe orders HOST                       every order of closing, and what each side sees
tp-probe flood HOST:PORT N BYTES           N connections open at once, each verified
tp-probe serial HOST:PORT N                N connections one after another
tp-probe hold N AT-ONCE HOST:PORT          N connections stay open until a line comes on stdin
tp-probe churn N|SECONDSs AT-ONCE HOST:PORT...   connect, a byte, close
tp-probe stalled-apps HOST N BYTES DRIP    N apps that read only after a line on stdin; DRIP single bytes follow
tp-probe stalled-servers HOST N BYTES      the same, but the server does not read
tp-probe uploads HOST N BYTES              says how far it came when nothing moves any more; lines on stdin between
tp-probe small HOST:PORT N                 median of N connects and of N round trips of one byte
tp-probe lookups NAME N                    median of N getaddrinfo of names below NAME
tp-probe udp HOST:PORT BYTES COUNT         datagrams there and back
tp-probe udp-flows HOST:PORT N             N sockets at once
tp-probe udp-flood HOST:PORT FLOWS COUNT   COUNT datagrams on each of FLOWS sockets; lines on stdin between
tp-probe udp-closed HOST:PORT              what a datagram to a closed port gives
tp-probe resolve NAME                      getaddrinfo";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["serve", name, addresses @ ..] => server::serve(name, addresses),
        ["serve-at", name, address] => server::serve_at(name, address),
        ["agent", rest @ ..] => agent::run(rest),
        ["relay", listen, target] => relay::run(listen, target),
        ["dns", listen, log, records @ ..] => dns_server::serve(listen, log, records),
        ["connect", to, rest @ ..] => client::connect(to, rest.first().and_then(|s| s.parse().ok())),
        ["echo", to, text] => client::echo(to, text),
        ["download", host, bytes, seed] => transfer::download(host, num(bytes), num(seed), 0),
        ["slow-reader", host, bytes, seed, ms] => transfer::download(host, num(bytes), num(seed), num(ms)),
        ["upload", host, bytes, seed] => transfer::upload(host, num(bytes), num(seed)),
        ["client-half", host, bytes, seed] => transfer::client_half(host, num(bytes), num(seed)),
        ["server-half", host, bytes, seed] => transfer::server_half(host, num(bytes), num(seed)),
        ["orders", host] => orders::run(host),
        ["flood", to, n, bytes] => flood::at_once(to, num(n), num(bytes)),
        ["serial", to, n] => flood::serial(to, num(n)),
        ["hold", n, at_once, to] => crowd::hold(num(n), num(at_once), to),
        ["churn", n, at_once, to @ ..] => crowd::churn(n, num(at_once), to),
        ["stalled-apps", host, n, bytes, drip] => stalled::apps(host, num(n), num(bytes), num(drip)),
        ["stalled-servers", host, n, bytes] => stalled::servers(host, num(n), num(bytes)),
        ["uploads", host, n, bytes] => stalled::uploads(host, num(n), num(bytes)),
        ["small", to, n] => small::requests(to, num(n)),
        ["lookups", name, n] => small::lookups(name, num(n)),
        ["udp-flood", to, flows, count] => udp::flood(to, num(flows), num(count)),
        ["udp", to, bytes, count] => udp::exchange(to, num(bytes), num(count)),
        ["udp-flows", to, n] => udp::flows(to, num(n)),
        ["udp-closed", to] => udp::closed(to),
        ["resolve", name] => client::resolve(name),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(json) => {
            println!("{json}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{}", serde_json::json!({"error": errno::name(&error), "text": error.to_string()}));
            ExitCode::FAILURE
        }
    }
}

/// Says how far it is, and waits for a line.
fn pause(state: &serde_json::Value) -> std::io::Result<()> {
    println!("{state}");
    std::io::stdin().read_line(&mut String::new()).map(drop)
}

/// A number of the command line; a wrong one shows at once as a wrong count.
fn num(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}
