//! Durations and sizes.

use std::time::Duration;

use super::fault::Problem;
use super::node::Node;
use super::values::{not, scalar, shown};

const DURATION: &str = "a duration as 5s, 1m30s or 100ms";

/// A duration in Go's syntax.
pub(super) fn duration(node: &Node) -> Result<Duration, Problem> {
    let scalar = scalar(node, DURATION)?;
    go_duration(&scalar.text).map_err(|suggestion| {
        let problem = Problem::new(format!("expected {DURATION}, found {}", shown(scalar)));
        // What is suggested repeats what was typed, so not when that came from the environment.
        if scalar.typed.is_none() { Problem { suggestion, ..problem } } else { problem }
    })
}

/// As [`duration`], but longer than nothing.
pub(super) fn positive_duration(node: &Node) -> Result<Duration, Problem> {
    match duration(node)? {
        Duration::ZERO => Err(Problem::new("expected a duration longer than 0")),
        duration => Ok(duration),
    }
}

/// Parses Go's syntax: numbers with the units ns, us, ms, s, m, h, in any sequence; `0` needs none. The error is what
/// to write instead, where that can be guessed.
fn go_duration(text: &str) -> Result<Duration, Option<String>> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(None);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Some(format!("the unit is missing: `{text}s` for seconds, `{text}ms` for milliseconds")));
    }
    let mut total_nanos = 0_u128;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(None)?;
        let (number, after) = rest.split_at(digits);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        total_nanos = total_nanos.saturating_add(part_nanos(number, unit)?);
        rest = after;
    }
    // Go's durations are signed 64-bit nanoseconds: about 292 years.
    match u64::try_from(total_nanos) {
        Ok(nanos) if i64::try_from(nanos).is_ok() => Ok(Duration::from_nanos(nanos)),
        _ => Err(Some("the longest duration is 2540400h".to_owned())),
    }
}

fn part_nanos(number: &str, unit: &str) -> Result<u128, Option<String>> {
    let unit_nanos: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => {
            let hours = number.parse::<u64>().ok().and_then(|days| days.checked_mul(24));
            return Err(hours.map(|hours| format!("there is no unit for days: write `{hours}h`")));
        }
        _ => return Err(Some("the units are ns, us, ms, s, m, h".to_owned())),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |digits: &str| digits.len() <= 18 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || whole.len() + fraction.len() == 0 {
        return Err(None);
    }
    let parse = |digits: &str| if digits.is_empty() { 0 } else { digits.parse::<u128>().unwrap_or(0) };
    // At most 18 digits, so neither product overflows.
    let fraction_nanos = parse(fraction) * unit_nanos / 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    Ok(parse(whole) * unit_nanos + fraction_nanos)
}

/// Parses a duration on the command line, in the syntax of the configuration.
///
/// # Errors
/// What was expected.
pub fn duration_argument(text: &str) -> Result<Duration, String> {
    go_duration(text).map_err(|suggestion| match suggestion {
        Some(suggestion) => format!("expected {DURATION}; {suggestion}"),
        None => format!("expected {DURATION}"),
    })
}

/// A size in bytes: a whole number, with or without a unit.
pub(super) fn size(min: u64, max: u64) -> impl Fn(&Node) -> Result<u64, Problem> {
    const EXPECTED: &str = "a size as 64MiB, 10GiB, or a number of bytes";
    move |node| {
        let scalar = scalar(node, EXPECTED)?;
        let problem = || Problem::new(format!("expected {EXPECTED}, found {}", shown(scalar)));
        let bytes = parse_size(&scalar.text)
            .ok_or_else(|| problem().suggest("the units are KiB, MiB, GiB, TiB; kB, MB, GB, TB"))?;
        if !(min..=max).contains(&bytes) {
            let range = format!("it must be from {} to {}", size_text(min), size_text(max));
            return Err(Problem::new(format!("{} is out of range", shown(scalar))).suggest(range));
        }
        Ok(bytes)
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit_bytes: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit_bytes)
}

/// A size for people, in the largest unit that needs no fraction.
pub(super) fn size_text(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.iter().find(|(_, shift)| bytes > 0 && bytes.is_multiple_of(1 << shift)) {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

/// A share in percent, written `5%`.
pub(super) fn percent(node: &Node) -> Result<u8, Problem> {
    const EXPECTED: &str = "a share from 0% to 99%";
    let scalar = scalar(node, EXPECTED)?;
    let number = scalar.text.strip_suffix('%').map(str::trim_end).and_then(|number| number.parse::<u8>().ok());
    number.filter(|share| *share < 100).ok_or_else(|| not(EXPECTED, scalar).suggest("write `5%`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("100ms", 100_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("250us", 250_000),
            ("250µs", 250_000),
            ("7ns", 7),
            ("72h0m0s", 259_200_000_000_000),
            ("0.000000001s", 1),
        ] {
            assert_eq!(duration_argument(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in ["", "s", ".s", "5", "-5s", "5 s", "1.2.3s", "5S", "5sec", "1e3s", "٣s", "300000000000h"] {
            assert!(duration_argument(text).is_err(), "{text}");
        }
        assert_eq!(duration_argument("2540400h").map(|longest| longest.as_secs()), Ok(2_540_400 * 3600));
    }

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("12B", Some(12)),
            ("64MiB", Some(64 << 20)),
            ("64 MiB", Some(64 << 20)),
            ("10GiB", Some(10 << 30)),
            ("1TiB", Some(1 << 40)),
            ("100MB", Some(100_000_000)),
            ("1kB", Some(1000)),
            ("1GB", Some(1_000_000_000)),
            ("64M", None),
            ("64mib", None),
            ("MiB", None),
            ("-1", None),
            ("1.5GiB", None),
            ("18446744073709551616", None),
            ("16777216TiB", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit_without_a_fraction() {
        assert_eq!(size_text(64 << 20), "64MiB");
        assert_eq!(size_text(1536), "1536 bytes");
        assert_eq!(size_text(0), "0 bytes");
    }
}
