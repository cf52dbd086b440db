//! Addresses to listen on, backends to send to, headers to send.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};

use super::fault::Problem;
use super::node::{Node, Value};
use super::source::quote;
use super::values::{not, scalar, shown};
use crate::auth::Secret;

/// Which addresses to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// `[::]` takes IPv4 too.
    Any,
    V4,
    /// `[::]` takes IPv6 alone.
    V6,
}

impl Family {
    fn has(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }

    fn every_interface(self) -> IpAddr {
        if self == Self::V4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
    }

    pub(super) fn localhost(self) -> IpAddr {
        if self == Self::V6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
    }

    /// Of this family; a URL, a name and an address of the other are not.
    fn suggestion(self) -> &'static str {
        match self {
            Self::Any => "write the IP address to listen on, as `127.0.0.1:4317` or `[::1]:4317`",
            Self::V4 => "write the IPv4 address to listen on, as `127.0.0.1:4317`, or another `transport`",
            Self::V6 => "write the IPv6 address to listen on, as `[::1]:4317`, or another `transport`",
        }
    }
}

/// Where to listen: `host:port`. A name is resolved here and now; an empty host means every interface.
pub(super) fn listen_address(node: &Node) -> Result<SocketAddr, Problem> {
    listen_address_of(Family::Any, node)
}

/// As [`listen_address`], on addresses of this family.
pub(super) fn listen_address_of(family: Family, node: &Node) -> Result<SocketAddr, Problem> {
    const EXPECTED: &str = "an address as 127.0.0.1:4317";
    let scalar = scalar(node, EXPECTED)?;
    let text = scalar.text.trim();
    if let Ok(address) = text.parse::<SocketAddr>() {
        let other = if address.is_ipv4() { "IPv4, not IPv6" } else { "IPv6, not IPv4" };
        let problem = || Problem::new(format!("{address} is {other}")).suggest(family.suggestion());
        return if family.has(address.ip()) { Ok(address) } else { Err(problem()) };
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
        "" => Ok(SocketAddr::new(family.every_interface(), port)),
        "localhost" => Ok(SocketAddr::new(family.localhost(), port)),
        _ => resolve(host, port, family).ok_or_else(|| {
            Problem::new(format!("{} is not an address of this machine that can be resolved", shown(scalar)))
                .suggest(family.suggestion())
        }),
    }
}

fn resolve(host: &str, port: u16, family: Family) -> Option<SocketAddr> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = (host, port).to_socket_addrs().ok()?;
    let addresses: Vec<SocketAddr> = addresses.filter(|address| family.has(address.ip())).collect();
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
            .or_else(|| resolve(text, 0, Family::Any).map(|address| address.ip()))
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
    // How gRPC in Go finds the addresses of a name: here each connection asks the system's resolver.
    let text = ["dns:///", "passthrough:///"].iter().find_map(|how| text.strip_prefix(how)).unwrap_or(text);
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

/// A URL with `http` or `https`, with a path where there is one.
pub(super) fn url(node: &Node) -> Result<String, Problem> {
    const EXPECTED: &str = "a URL as http://collector:4318";
    let scalar = scalar(node, EXPECTED)?;
    let text = scalar.text.trim();
    let rest = match text.split_once("://") {
        Some(("http" | "https", rest)) => rest,
        Some(_) => return Err(not(EXPECTED, scalar).suggest("the schemes are http and https")),
        None if scalar.typed.is_none() => {
            return Err(not(EXPECTED, scalar).suggest(format!("write `http://{text}`, or https for TLS")));
        }
        None => return Err(not(EXPECTED, scalar).suggest("the scheme is missing: http, or https for TLS")),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(Problem::new("credentials do not belong in an endpoint").suggest("send them with `headers`"));
    }
    let is_url = text.parse::<http::Uri>().is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    if !is_url || text.contains('#') {
        return Err(not(EXPECTED, scalar).suggest("write scheme, host and port, and a path where there is one"));
    }
    Ok(text.to_owned())
}

/// Headers: a map of names and values, or a list of `{name, value}`. Values are secrets: no message holds one.
pub(super) fn headers(node: &Node) -> Result<Vec<(String, Secret)>, Problem> {
    let pairs: Vec<(&str, &Node, &Node)> = match &node.value {
        Value::Map(entries) => entries.iter().map(|entry| (&*entry.key, &entry.value, &entry.value)).collect(),
        Value::List(items) => items.iter().map(header_item).collect::<Result<_, _>>()?,
        _ => return Err(Problem::new(format!("expected a map of header names and values, found {}", node.kind()))),
    };
    let mut names = BTreeSet::new();
    let mut read = |name, value| {
        let (name, value) = header(name, value)?;
        if !names.insert(name.clone()) {
            return Err(Problem::new(format!("the header {} comes twice", quote(&name)))
                .suggest("write it once: upper and lower case are the same in a name"));
        }
        Ok((name, value))
    };
    pairs.into_iter().map(|(name, value, at)| read(name, value).map_err(|problem| problem.at(at.at))).collect()
}

fn header_item(item: &Node) -> Result<(&str, &Node, &Node), Problem> {
    let name = item.get("name").and_then(|name| if let Value::Scalar(s) = &name.value { Some(&*s.text) } else { None });
    match (name, item.get("value"), item.entries().len()) {
        (Some(name), Some(value), 2) => Ok((name, value, item)),
        _ => Err(Problem::new("expected a header as `{name: …, value: …}`").at(item.at)),
    }
}

fn header(name: &str, value: &Node) -> Result<(String, Secret), Problem> {
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
    Ok((name, Secret(value)))
}
