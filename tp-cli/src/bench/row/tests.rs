//! Fixed results, as people and as programs read them.

use tp_proto::daemon::StatusReply;

use super::*;

fn view(connected: bool) -> View {
    let status = StatusReply {
        manager_name: "OSS Traffic Manager (tp)".to_owned(),
        manager_version: "v0.1.0".to_owned(),
        context: "dev".to_owned(),
        server: "https://10.0.0.1:6443".to_owned(),
        dataplane: "ebpf".to_owned(),
        ..StatusReply::default()
    };
    let reason = || Some("Connection refused".to_owned());
    let results = vec![
        Row::Upload { streams: 1, bytes_per_second: 1.2e9 },
        Row::Upload { streams: 8, bytes_per_second: 1.31e9 },
        Row::Download { streams: 1, bytes_per_second: 98.7e6 },
        Row::Download { streams: 8, bytes_per_second: 0.1e6 },
        Row::RoundTrip { p50_us: 48.4, p99_us: 1234.5, count: 20_123 },
        Row::Connect {
            at_once: 1,
            per_second: 99.94,
            p50_us: 310.0,
            p99_us: 9_870_000.0,
            failed: 0,
            error: None,
        },
        Row::Connect {
            at_once: 64,
            per_second: 10_000.4,
            p50_us: 4100.0,
            p99_us: 12_000.0,
            failed: 3,
            error: reason(),
        },
        Row::UdpRoundTrip { p50_us: 60.0, p99_us: 80.0, count: 30_000, lost: 2 },
        Row::UdpPackets { sent_per_second: 120_001.0, received_per_second: 120_000.0, lost: 2 },
        Row::Dns { at_once: 8, per_second: 9000.0, p50_us: 500.0, p99_us: 900.0, failed: 0, error: None },
        Row::Idle {
            connections: 10_000,
            opened: 9_999,
            failed: 1,
            open_seconds: 1.25,
            seconds: 2.0,
            error: reason(),
        },
    ];
    let failed = Failed { case: "upload-8".to_owned(), error: "nothing came through for 10s".to_owned() };
    View {
        target: "10.244.0.7:40000".to_owned(),
        connection: connected.then(|| status.into()),
        results: if connected { results } else { Vec::new() },
        failed: if connected { Vec::new() } else { vec![failed] },
    }
}

fn snapshot(name: &str, text: &str) {
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, text);
    });
}

#[test]
fn for_people() {
    snapshot("bench_table", &view(true).text());
    snapshot("bench_failed", &view(false).text());
}

#[test]
fn for_programs() {
    snapshot("bench_json", &serde_json::to_string_pretty(&view(true)).unwrap());
}
