//! The environment variables of the OpenTelemetry
//! [OTLP exporter specification](https://opentelemetry.io/docs/specs/otel/protocol/exporter/), for what a program
//! does not set itself. `OTEL_EXPORTER_OTLP_LOGS_*` goes before `OTEL_EXPORTER_OTLP_*`.

use std::path::PathBuf;
use std::time::Duration;

use super::{BuildError, Compression};
use crate::auth::Secret;

/// Looks a variable up.
pub(super) struct Environment<F>(pub(super) F);

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    /// `ENDPOINT`. Errors when `PROTOCOL` says that it is one for HTTP.
    pub(super) fn endpoint(&self) -> Result<Option<String>, BuildError> {
        let Some((_, endpoint)) = self.find("ENDPOINT") else { return Ok(None) };
        match self.find("PROTOCOL") {
            Some((variable, protocol)) if protocol != "grpc" => {
                Err(wrong(variable, format!("{protocol:?} is not supported: set grpc and an endpoint that takes it")))
            }
            _ => Ok(Some(endpoint)),
        }
    }

    /// `INSECURE`: what an endpoint without a scheme means.
    pub(super) fn insecure(&self) -> bool {
        self.find("INSECURE").is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"))
    }

    /// `HEADERS`: `key=value` pairs with commas between them, values percent-encoded.
    pub(super) fn headers(&self) -> Result<Option<Vec<(String, Secret)>>, BuildError> {
        let Some((variable, text)) = self.find("HEADERS") else { return Ok(None) };
        // The value is a secret: the error names no part of it.
        let malformed = || wrong(variable.clone(), "not key=value,key=value with percent-encoded values".into());
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=')?;
            Some((key.trim().to_owned(), Secret(percent_decoded(value.trim())?)))
        };
        let pairs = text.split(',').filter(|pair| !pair.trim().is_empty()).map(pair);
        pairs.collect::<Option<_>>().ok_or_else(malformed).map(Some)
    }

    /// `TIMEOUT` of one attempt, in milliseconds.
    pub(super) fn timeout(&self) -> Result<Option<Duration>, BuildError> {
        let Some((variable, text)) = self.find("TIMEOUT") else { return Ok(None) };
        let millis = text.trim().parse().map_err(|_| wrong(variable, format!("{text:?} is no number of milliseconds")));
        Ok(Some(Duration::from_millis(millis?)))
    }

    /// `COMPRESSION`: `gzip` or `none`.
    pub(super) fn compression(&self) -> Result<Option<Compression>, BuildError> {
        match self.find("COMPRESSION") {
            None => Ok(None),
            Some((_, text)) if text == "gzip" => Ok(Some(Compression::Gzip)),
            Some((_, text)) if text == "none" => Ok(Some(Compression::None)),
            Some((variable, text)) => Err(wrong(variable, format!("{text:?} is neither gzip nor none"))),
        }
    }

    /// `CERTIFICATE`, `CLIENT_CERTIFICATE` or `CLIENT_KEY`: a PEM file.
    pub(super) fn file(&self, name: &str) -> Option<PathBuf> {
        self.find(name).map(|(_, path)| path.into())
    }

    /// The variable that is set, with its value. An empty one is not set, as the specification says.
    fn find(&self, name: &str) -> Option<(String, String)> {
        [format!("OTEL_EXPORTER_OTLP_LOGS_{name}"), format!("OTEL_EXPORTER_OTLP_{name}")]
            .into_iter()
            .find_map(|variable| (self.0)(&variable).filter(|value| !value.is_empty()).map(|value| (variable, value)))
    }
}

fn wrong(variable: String, reason: String) -> BuildError {
    BuildError::Environment { variable, reason }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (digits, tail) = rest.split_first_chunk::<2>()?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        decoded.push(u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()?);
        rest = tail;
    }
    String::from_utf8(decoded).ok()
}
