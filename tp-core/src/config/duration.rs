//! Durations as Go writes them: `1m30s`, `500ms`, `1.5s`.

use std::time::Duration;

/// Longest first where one is the end of another.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Nobody means more, and nothing that is computed with it overflows.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// `None` if it is none, or longer than ten years. A number alone is seconds, as Telepresence reads it.
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    let total = match nanos(text, 1_000_000_000) {
        Some(seconds) => seconds,
        None => parts(text)?,
    };
    let total = Duration::from_nanos(u64::try_from(total).ok()?);
    (total <= LONGEST).then_some(total)
}

/// As Go prints it: the same duration when it is read again.
pub fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        0 => return "0s".to_owned(),
        1..1_000 => return format!("{nanos}ns"),
        1_000..1_000_000 => return format!("{}us", decimal(nanos, 1_000)),
        1_000_000..1_000_000_000 => return format!("{}ms", decimal(nanos, 1_000_000)),
        _ => {}
    }
    let (hours, minutes) = (duration.as_secs() / 3600, duration.as_secs() / 60 % 60);
    let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

fn parts(mut rest: &str) -> Option<u128> {
    if rest.is_empty() {
        return None;
    }
    let mut total = 0u128;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let (unit, size) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        // `m` begins `ms` as well, which stands before it
        total = total.checked_add(nanos(number, *size)?)?;
        rest = &after[unit.len()..];
    }
    Some(total)
}

/// A decimal number of units in nanoseconds, rounded down.
fn nanos(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(unit)?;
    let mut worth = unit;
    for digit in fraction.bytes() {
        worth /= 10;
        total = total.checked_add(u128::from(digit - b'0') * worth)?;
    }
    Some(total)
}

/// `nanos / unit` with as many decimals as it takes.
fn decimal(nanos: u128, unit: u128) -> String {
    let (whole, rest) = (nanos / unit, nanos % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let fraction = format!("{rest:0width$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", 0),
            ("1ms", 1_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("100us", 100_000),
            ("2µs", 2_000),
            (".5s", 500_000_000),
            ("8", 8_000_000_000),
            ("0.25", 250_000_000),
            (" 3s ", 3_000_000_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_nanos(nanos)), "{text:?}");
        }
        for text in
            ["", "s", "1", "-1s", "1 s", "1s2", "1d", "1e3s", "1..2s", ".s", "99999999h", "1sm", "+1s"]
        {
            assert_eq!(parse(text).filter(|_| text != "1"), None, "{text:?}");
        }
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for text in ["0s", "1ns", "1.5us", "250ms", "1s", "4.5s", "1m30s", "24h0m0s", "1h0m0.001s"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(nanos in 0..=LONGEST.as_nanos()) {
            let duration = Duration::from_nanos(u64::try_from(nanos).unwrap());
            prop_assert_eq!(parse(&format(duration)), Some(duration));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "[0-9.hmsunµ +-]{0,40}|.{0,20}") {
            let _ = parse(&text);
        }
    }
}
