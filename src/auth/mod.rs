//! Who may send to a receiver, and as whom an exporter sends: what the extensions `bearertokenauth` and `basicauth` say.
//!
//! Secrets may stand in files, which are read again when they change.

mod client;
#[cfg(feature = "agent")]
mod server;
mod watched;

use std::fmt;
use std::path::PathBuf;

use http::HeaderName;

pub use client::{Client, ClientSettings};
#[cfg(feature = "agent")]
pub use server::{Denied, RememberedPasswords, Server, ServerSettings, Unknown, hash_is_known};

/// Text that nothing prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

/// `bearertokenauth`: a token in a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// `header`. Default `authorization`.
    pub header: HeaderName,
    /// `scheme`, before the token; empty: the token alone. Default `Bearer`.
    pub scheme: String,
    /// Where the tokens are: any of them is taken, the first one is sent.
    pub tokens: Source,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Written in the configuration, one a line.
    Text(Secret),
    /// In a file, one a line.
    File(PathBuf),
}

impl Bearer {
    /// The header's value for a token.
    fn value(&self, token: &str) -> String {
        if self.scheme.is_empty() { token.to_owned() } else { format!("{} {token}", self.scheme) }
    }
}
