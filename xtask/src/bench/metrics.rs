//! The cases, the metrics they give, and how figures are written.
use clap::ValueEnum;
use clap::builder::PossibleValue;

/// What is measured; the names are those of `tp bench --case`, and three that only the outside can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Upload,
    Upload8,
    Download,
    Download8,
    RoundTrip,
    Connect,
    Connect64,
    UdpRoundTrip,
    UdpPackets,
    Dns,
    /// Resident memory of the daemon, idle and with many connections.
    Memory,
    /// From `tp connect` to the first answered request.
    Answered,
}

impl Case {
    /// As `tp bench` and `--only` call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Upload8 => "upload-8",
            Self::Download => "download",
            Self::Download8 => "download-8",
            Self::RoundTrip => "round-trip",
            Self::Connect => "connect",
            Self::Connect64 => "connect-64",
            Self::UdpRoundTrip => "udp-round-trip",
            Self::UdpPackets => "udp-packets",
            Self::Dns => "dns",
            Self::Memory => "memory",
            Self::Answered => "answered",
        }
    }

    pub(crate) fn is_throughput(self) -> bool {
        matches!(self, Self::Upload | Self::Upload8 | Self::Download | Self::Download8)
    }

    pub(crate) fn is_udp(self) -> bool {
        matches!(self, Self::UdpRoundTrip | Self::UdpPackets)
    }

    /// Measured by `tp bench`, in turns.
    pub(crate) fn takes_turns(self) -> bool {
        !matches!(self, Self::Memory | Self::Answered)
    }
}

impl ValueEnum for Case {
    fn value_variants<'a>() -> &'a [Self] {
        use Case::{
            Answered, Connect, Connect64, Dns, Download, Download8, Memory, RoundTrip, UdpPackets,
            UdpRoundTrip, Upload, Upload8,
        };
        &[
            Upload,
            Download,
            Upload8,
            Download8,
            RoundTrip,
            Connect,
            Connect64,
            UdpRoundTrip,
            UdpPackets,
            Dns,
            Memory,
            Answered,
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Bytes in a second, shown in Gbit/s.
    Rate,
    Microseconds,
    PerSecond,
    Seconds,
    SecondsPerGb,
    /// Bytes, shown in MB.
    Memory,
    /// Bytes, shown in KB.
    Kilobytes,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Metric {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    pub(crate) more_is_better: bool,
}

const fn metric(id: &'static str, title: &'static str, unit: Unit, more_is_better: bool) -> Metric {
    Metric { id, title, unit, more_is_better }
}

/// In the order in which they are shown.
pub(crate) const METRICS: &[Metric] = &[
    metric("upload-1", "1 stream, up", Unit::Rate, true),
    metric("download-1", "1 stream, down", Unit::Rate, true),
    metric("upload-8", "8 streams, up", Unit::Rate, true),
    metric("download-8", "8 streams, down", Unit::Rate, true),
    metric("round-trip-p50", "round trip of 1 byte, p50", Unit::Microseconds, false),
    metric("round-trip-p99", "round trip of 1 byte, p99", Unit::Microseconds, false),
    metric("connect-p50", "connect(), one right after the other, p50", Unit::Microseconds, false),
    metric("connect-apart-p50", "connect(), 2 ms apart, p50", Unit::Microseconds, false),
    metric("connect-1", "connect + 1 byte, one at a time", Unit::PerSecond, true),
    metric("connect-1-p99", "connect + 1 byte, one at a time, p99", Unit::Microseconds, false),
    metric("connect-64", "connect + 1 byte, 64 at a time", Unit::PerSecond, true),
    metric("connect-64-p99", "connect + 1 byte, 64 at a time, p99", Unit::Microseconds, false),
    metric("udp-round-trip-p50", "UDP round trip, p50", Unit::Microseconds, false),
    metric("udp-round-trip-p99", "UDP round trip, p99", Unit::Microseconds, false),
    metric("udp-sent", "UDP datagrams sent", Unit::PerSecond, true),
    metric("udp-received", "UDP datagrams back", Unit::PerSecond, true),
    metric("dns", "DNS lookups", Unit::PerSecond, true),
    metric("dns-p50", "DNS lookup, p50", Unit::Microseconds, false),
    metric("dns-p99", "DNS lookup, p99", Unit::Microseconds, false),
    metric("answered", "`tp connect` to the first answer", Unit::Seconds, false),
    metric("memory-idle", "daemon, connected and idle", Unit::Memory, false),
    metric("memory-per-connection", "daemon, per idle connection", Unit::Kilobytes, false),
    metric("memory-manager-per-connection", "manager, per idle connection", Unit::Kilobytes, false),
];

/// CPU time has a metric per case and process: `upload-1/cpu/daemon`.
pub(crate) fn cpu(throughput: &str, role: &str) -> String {
    format!("{throughput}/cpu/{role}")
}

/// The two parts of such a name.
pub(crate) fn of_cpu(metric: &str) -> Option<(&str, &str)> {
    metric.split_once("/cpu/")
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rate => "Gbit/s",
            Self::Microseconds => "us",
            Self::PerSecond => "/s",
            Self::Seconds => "s",
            Self::SecondsPerGb => "s/GB",
            Self::Memory => "MB",
            Self::Kilobytes => "KB",
        }
    }

    /// The figure without the unit, as precise as it is worth reading.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Rate => format!("{:.2}", value * 8.0 / 1e9),
            Self::Microseconds | Self::PerSecond => thousands(value),
            Self::Seconds | Self::SecondsPerGb => format!("{value:.2}"),
            Self::Memory => format!("{:.1}", value / 1e6),
            Self::Kilobytes => format!("{:.1}", value / 1e3),
        }
    }
}

/// `12 345`.
fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(' ');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_as_people_read_them() {
        assert_eq!(Unit::Rate.show(1.25e9), "10.00");
        assert_eq!(Unit::PerSecond.show(1_234_567.4), "1 234 567");
        assert_eq!(Unit::PerSecond.show(999.0), "999");
        assert_eq!(Unit::Memory.show(12_340_000.0), "12.3");
    }

    #[test]
    fn every_metric_has_one_name() {
        let mut ids: Vec<&str> = METRICS.iter().map(|metric| metric.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), METRICS.len());
    }

    #[test]
    fn names_of_cpu_metrics_come_apart_again() {
        assert_eq!(of_cpu(&cpu("upload-1", "daemon")), Some(("upload-1", "daemon")));
        assert_eq!(of_cpu("upload-1"), None);
    }
}
