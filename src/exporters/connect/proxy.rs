//! The proxy that the environment names: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`.
//!
//! As everywhere in this field, this machine's own addresses are reached without a proxy.

use std::net::IpAddr;
use std::sync::Arc;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::connector::BoxError;

/// Which proxy leads where.
#[derive(Debug, Clone)]
pub(super) struct Proxies(Arc<Matcher>);

impl Proxies {
    pub(super) fn new(matcher: Matcher) -> Self {
        Self(Arc::new(matcher))
    }

    /// The proxy to the host of a URL; none: it is reached directly.
    pub(super) fn to(&self, url: &Uri) -> Option<Intercept> {
        let host = url.host()?.trim_matches(['[', ']']);
        let is_here = host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if is_here { None } else { self.0.intercept(url) }
    }
}

/// Connects to a proxy, and with `tunnels` through it to the host of a URL.
pub(super) async fn through(
    proxy: &Intercept,
    mut tcp: HttpConnector,
    url: Uri,
    tunnels: bool,
) -> Result<TokioIo<TcpStream>, BoxError> {
    if proxy.uri().scheme_str() != Some("http") {
        return Err("only proxies with http:// are understood".into());
    }
    if !tunnels {
        return Ok(tcp.call(proxy.uri().clone()).await?);
    }
    let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
    if let Some(authorization) = proxy.basic_auth() {
        tunnel = tunnel.with_auth(authorization.clone());
    }
    Ok(tunnel.call(url).await?)
}

/// Where a proxy is, without its credentials.
pub(super) fn name(proxy: &Intercept) -> &str {
    proxy.uri().authority().map_or("", |authority| authority.as_str().rsplit('@').next().unwrap_or_default())
}
