//! As whom an exporter sends.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};

use super::watched::Watched;
use super::{Bearer, Source};

/// The checked settings of a client's credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientSettings {
    /// `bearertokenauth`.
    Bearer(Bearer),
    /// `basicauth.client_auth`.
    Basic {
        /// `username`, or the first line of `username_file`.
        user: Source,
        /// `password`, or the first line of `password_file`.
        password: Source,
    },
}

/// The credentials of a client.
#[derive(Debug)]
pub struct Client(Kind);

#[derive(Debug)]
enum Kind {
    Bearer(Bearer, Watched),
    Basic { user: Watched, password: Watched },
}

impl Client {
    /// Credentials with these settings. Reads no file yet.
    #[must_use]
    pub fn new(settings: ClientSettings) -> Self {
        Self(match settings {
            ClientSettings::Bearer(bearer) => {
                let tokens = Watched::new(bearer.tokens.clone());
                Kind::Bearer(bearer, tokens)
            }
            ClientSettings::Basic { user, password } => {
                Kind::Basic { user: Watched::new(user), password: Watched::new(password) }
            }
        })
    }

    /// The header to send with a request.
    ///
    /// # Errors
    /// When a file cannot be read, or what it holds does not fit a header.
    pub fn header(&self) -> Result<(HeaderName, HeaderValue), String> {
        let first = |text: &Watched| {
            let text = text.text()?;
            Ok::<_, String>(text.lines().next().unwrap_or_default().trim().to_owned())
        };
        let (name, value) = match &self.0 {
            Kind::Bearer(bearer, tokens) => (bearer.header.clone(), bearer.value(&first(tokens)?)),
            Kind::Basic { user, password } => {
                let both = format!("{}:{}", first(user)?, first(password)?);
                (AUTHORIZATION, format!("Basic {}", STANDARD.encode(both)))
            }
        };
        let mut value = HeaderValue::from_str(&value).map_err(|_| "credentials hold what no header can".to_owned())?;
        value.set_sensitive(true);
        Ok((name, value))
    }
}
