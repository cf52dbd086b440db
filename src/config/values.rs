//! What a value may be: numbers, durations, sizes, addresses. Each reader says what it expected and what to write.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use super::fault::Problem;
use super::fields::nearest_or_all;
use super::node::{Node, Scalar, Value};
use super::source::{At, quote};

fn scalar<'n>(node: &'n Node, expected: &str) -> Result<&'n Scalar, Problem> {
    match &node.value {
        Value::Scalar(scalar) => Ok(scalar),
        _ => Err(Problem::new(format!("expected {expected}, found {}", node.kind()))),
    }
}

/// As it was typed: a value from the environment may be a secret, so its reference is shown instead.
fn shown(scalar: &Scalar) -> String {
    match &scalar.typed {
        Some(typed) => format!("the value of {}", quote(typed)),
        None => quote(&scalar.text),
    }
}

fn not(expected: &str, scalar: &Scalar) -> Problem {
    Problem::new(format!("expected {expected}, found {}", shown(scalar)))
}

/// As [`not`], where quotes make a text of what would otherwise be right.
fn not_plain(expected: &str, scalar: &Scalar) -> Problem {
    let problem = not(expected, scalar);
    if scalar.plain { problem } else { Problem { message: format!("{} in quotes", problem.message), ..problem } }
}

/// A text. Numbers and words without quotes are texts too.
pub(super) fn text(node: &Node) -> Result<String, Problem> {
    Ok(scalar(node, "a text")?.text.clone())
}

/// A text that is not empty.
pub(super) fn word(node: &Node) -> Result<String, Problem> {
    let text = text(node)?;
    if text.trim().is_empty() { Err(Problem::new("expected a text, found an empty one")) } else { Ok(text) }
}

/// A path in the file system.
pub(super) fn path(node: &Node) -> Result<PathBuf, Problem> {
    let text = word(node)?;
    if text.contains('\0') { Err(Problem::new("a path cannot hold a zero byte")) } else { Ok(PathBuf::from(text)) }
}

/// `true` or `false`.
pub(super) fn boolean(node: &Node) -> Result<bool, Problem> {
    const EXPECTED: &str = "true or false";
    let scalar = scalar(node, EXPECTED)?;
    match &*scalar.text {
        "true" | "True" | "TRUE" if scalar.plain => Ok(true),
        "false" | "False" | "FALSE" if scalar.plain => Ok(false),
        "true" | "false" => Err(not_plain(EXPECTED, scalar).suggest(format!("write {} without quotes", scalar.text))),
        _ => Err(not_plain(EXPECTED, scalar)),
    }
}

/// A whole number within a range.
pub(super) fn integer(min: u64, max: u64) -> impl Fn(&Node) -> Result<u64, Problem> {
    move |node| {
        let expected = format!("a whole number from {min} to {max}");
        let scalar = scalar(node, &expected)?;
        match scalar.text.parse::<u64>() {
            Ok(_) if !scalar.plain => Err(not_plain(&expected, scalar).suggest("write it without quotes")),
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            _ => Err(not_plain(&expected, scalar)),
        }
    }
}

/// As [`integer`], for what fits 32 bits.
pub(super) fn integer_u32(min: u32, max: u32) -> impl Fn(&Node) -> Result<u32, Problem> {
    // The range is checked, so the conversion cannot cut anything.
    move |node| integer(min.into(), max.into())(node).map(|number| u32::try_from(number).unwrap_or(max))
}

/// As [`integer`], for counts and sizes in memory.
pub(super) fn integer_usize(min: usize, max: usize) -> impl Fn(&Node) -> Result<usize, Problem> {
    // The range is checked, so the conversion cannot cut anything.
    move |node| integer(min as u64, max as u64)(node).map(|number| usize::try_from(number).unwrap_or(max))
}

/// A number within a range.
pub(super) fn number(min: f64, max: f64) -> impl Fn(&Node) -> Result<f64, Problem> {
    move |node| {
        let expected = format!("a number from {min} to {max}");
        let scalar = scalar(node, &expected)?;
        match scalar.text.parse::<f64>() {
            Ok(number) if scalar.plain && (min..=max).contains(&number) => Ok(number),
            _ => Err(not_plain(&expected, scalar)),
        }
    }
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(choices: &[(&'static str, T)]) -> impl Fn(&Node) -> Result<T, Problem> {
    move |node| {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let expected = format!("one of {}", words.join(", "));
        let scalar = scalar(node, &expected)?;
        match choices.iter().find(|(word, _)| *word == scalar.text) {
            Some((_, value)) => Ok(*value),
            None => Err(not(&expected, scalar).suggest(nearest_or_all(&scalar.text, &words, "words allowed"))),
        }
    }
}

/// A list of texts.
pub(super) fn texts(node: &Node) -> Result<Vec<String>, Problem> {
    match &node.value {
        Value::List(items) => items.iter().map(|item| word(item).map_err(|problem| problem.at(item.at))).collect(),
        _ => Err(Problem::new(format!("expected a list, found {}", node.kind()))
            .suggest("write `[a, b]`, or one `- a` a line")),
    }
}

/// A list of ids, each with its place.
pub(super) fn references(node: &Node) -> Result<Vec<(String, At)>, Problem> {
    let places = match &node.value {
        Value::List(items) => items.iter().map(|item| item.at).collect(),
        _ => Vec::new(),
    };
    Ok(texts(node)?.into_iter().zip(places).collect())
}

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

/// Where to listen: `host:port`. A name is resolved here and now; an empty host means every interface.
pub(super) fn listen_address(node: &Node) -> Result<SocketAddr, Problem> {
    const EXPECTED: &str = "an address as 127.0.0.1:4317";
    let scalar = scalar(node, EXPECTED)?;
    let text = scalar.text.trim();
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    if let Some((_, rest)) = text.split_once("://") {
        let problem = Problem::new(format!("expected {EXPECTED}, found a URL"));
        let rest = rest.trim_end_matches('/');
        return Err(if scalar.typed.is_none() && rest.parse::<SocketAddr>().is_ok() {
            problem.suggest(format!("write `{rest}`"))
        } else {
            problem.suggest("write host and port only")
        });
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(not(EXPECTED, scalar).suggest("the port is missing: write `host:port`"));
    };
    let port: u16 = port.parse().map_err(|_| not(EXPECTED, scalar).suggest("the port is a number from 0 to 65535"))?;
    match host {
        "" => Ok(SocketAddr::from(([0_u16; 8], port))),
        "localhost" => Ok(SocketAddr::from(([127, 0, 0, 1], port))),
        _ => resolve(host, port).ok_or_else(|| {
            Problem::new(format!("{} is not an address of this machine that can be resolved", shown(scalar)))
                .suggest("write the IP address to listen on, as `127.0.0.1:4317` or `[::1]:4317`")
        }),
    }
}

fn resolve(host: &str, port: u16) -> Option<SocketAddr> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().ok()?.collect();
    // As Go: a name that has both kinds listens on the IPv4 one.
    addresses.iter().find(|address| address.is_ipv4()).or(addresses.first()).copied()
}

/// A host to listen on, without a port.
pub(super) fn listen_host(node: &Node) -> Result<IpAddr, Problem> {
    const EXPECTED: &str = "a host as 127.0.0.1";
    let scalar = scalar(node, EXPECTED)?;
    match &*scalar.text {
        "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
        "" => Ok(IpAddr::from([0_u16; 8])),
        text => text
            .parse()
            .ok()
            .or_else(|| resolve(text, 0).map(|address| address.ip()))
            .ok_or_else(|| not(EXPECTED, scalar).suggest("write an IP address; the port has a key of its own")),
    }
}

/// Where an OTLP backend is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Backend {
    /// `host:port`, or the URL as it was typed.
    pub(super) endpoint: String,
    /// What the URL says about TLS: `http` false, `https` true; none without a scheme.
    pub(super) tls: Option<bool>,
}

/// `host:port`, or a URL with `http` or `https`. The port is needed, as gRPC has no default one.
pub(super) fn backend(node: &Node) -> Result<Backend, Problem> {
    const EXPECTED: &str = "an endpoint as collector:4317";
    let scalar = scalar(node, EXPECTED)?;
    let text = scalar.text.trim();
    let text = text.strip_prefix("dns:///").unwrap_or(text);
    let (tls, authority) = match text.split_once("://") {
        None => (None, text),
        Some(("http", rest)) => (Some(false), rest),
        Some(("https", rest)) => (Some(true), rest),
        Some(_) => return Err(not(EXPECTED, scalar).suggest("the schemes are http and https")),
    };
    if authority.contains('@') {
        return Err(Problem::new("credentials do not belong in an endpoint").suggest("send them with `headers`"));
    }
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.contains('/') {
        return Err(not(EXPECTED, scalar).suggest("gRPC has no paths: write host and port only"));
    }
    let Some((host, port)) = authority.rsplit_once(':').filter(|(host, _)| !host.ends_with(':') && !host.is_empty())
    else {
        return Err(not(EXPECTED, scalar).suggest("host and port are needed: write `host:4317`"));
    };
    if port.parse::<u16>().is_err() || port == "0" {
        return Err(not(EXPECTED, scalar).suggest("the port is a number from 1 to 65535"));
    }
    let is_ipv6 =
        host.starts_with('[') && host.ends_with(']') && host[1..host.len() - 1].parse::<std::net::Ipv6Addr>().is_ok();
    let is_name = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if !is_ipv6 && !is_name {
        return Err(not(EXPECTED, scalar).suggest("write a host name, an IPv4 address, or an IPv6 address in brackets"));
    }
    let endpoint = match tls {
        None => authority.to_owned(),
        Some(false) => format!("http://{authority}"),
        Some(true) => format!("https://{authority}"),
    };
    Ok(Backend { endpoint, tls })
}

/// Headers: a map of names and values, or a list of `{name, value}`. Values are secrets: no message holds one.
pub(super) fn headers(node: &Node) -> Result<Vec<(String, String)>, Problem> {
    let pairs: Vec<(&str, &Node, &Node)> = match &node.value {
        Value::Map(entries) => entries.iter().map(|entry| (&*entry.key, &entry.value, &entry.value)).collect(),
        Value::List(items) => items.iter().map(header_item).collect::<Result<_, _>>()?,
        _ => return Err(Problem::new(format!("expected a map of header names and values, found {}", node.kind()))),
    };
    pairs.into_iter().map(|(name, value, at)| header(name, value).map_err(|problem| problem.at(at.at))).collect()
}

fn header_item(item: &Node) -> Result<(&str, &Node, &Node), Problem> {
    let name = item.get("name").and_then(|name| if let Value::Scalar(s) = &name.value { Some(&*s.text) } else { None });
    match (name, item.get("value"), item.entries().len()) {
        (Some(name), Some(value), 2) => Ok((name, value, item)),
        _ => Err(Problem::new("expected a header as `{name: …, value: …}`").at(item.at)),
    }
}

fn header(name: &str, value: &Node) -> Result<(String, String), Problem> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err(Problem::new(format!("{} is no name of a header", quote(name)))
            .suggest("write letters, digits, `-`, `_` and `.`"));
    }
    let name = name.to_ascii_lowercase();
    if name.starts_with("grpc-") || name.ends_with("-bin") {
        return Err(Problem::new(format!("the header {} belongs to gRPC itself", quote(&name))));
    }
    let value = match &value.value {
        Value::Scalar(scalar) => scalar.text.trim().to_owned(),
        Value::Null => String::new(),
        _ => return Err(Problem::new(format!("the value of the header {} must be one text", quote(&name)))),
    };
    if !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(Problem::new(format!(
            "the value of the header {} has characters that a header cannot hold",
            quote(&name)
        ))
        .suggest("a header's value is printable ASCII on one line"));
    }
    Ok((name, value))
}
