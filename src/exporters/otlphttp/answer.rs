//! What a backend's answer means for the records that were sent ("OTLP/HTTP Response" of the specification, and what
//! stock backends mean by the statuses that it does not let a client retry).

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use prost::Message;

use crate::exporters::response::{self, cut};
use crate::exporters::sink::{SendError, Sent};

/// An answer, its body as far as it was read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Sorts the answer to a request with so many items by what is to be done.
    pub(super) fn judge(&self, items: u64) -> Result<Sent, SendError> {
        if self.status.is_success() {
            return Ok(if self.is_json() {
                response::sent_json(&self.body, items)
            } else {
                response::sent(&self.body, items)
            });
        }
        let reason = self.reason();
        Err(match self.status.as_u16() {
            // 408 is the server's word that the request did not arrive in time: it was not judged.
            408 | 429 | 502 | 503 | 504 => SendError::Retry { reason, after: self.retry_after() },
            // A plain request at a port of TLS: the records have no part in it.
            400 if self.wants_tls() => SendError::Refused { reason },
            400 => SendError::BadData { reason },
            413 => SendError::TooLarge { reason },
            _ => SendError::Refused { reason },
        })
    }

    /// What Go's server and nginx say to plain HTTP at a port of HTTPS.
    fn wants_tls(&self) -> bool {
        let said = String::from_utf8_lossy(&self.body[..self.body.len().min(4096)]).to_ascii_lowercase();
        ["http request to an https server", "plain http request was sent to https port"]
            .iter()
            .any(|s| said.contains(s))
    }

    fn is_json(&self) -> bool {
        self.header(header::CONTENT_TYPE).is_some_and(|value| value.starts_with("application/json"))
    }

    fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Seconds, or a date (RFC 9110, section 10.2.3), by the server's own clock.
    fn retry_after(&self) -> Option<Duration> {
        let value = self.header(header::RETRY_AFTER)?.trim();
        if let Ok(seconds) = value.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let date = |text: &str| httpdate::parse_http_date(text.trim()).ok();
        let (then, now) = (date(value)?, date(self.header(header::DATE)?)?);
        Some(then.duration_since(now).unwrap_or_default())
    }

    /// The status, and what the body says: a `google.rpc.Status` in protobuf or JSON, or text.
    fn reason(&self) -> String {
        if self.status.is_redirection() {
            let to = self.header(header::LOCATION).unwrap_or("nowhere");
            return cut(format!("HTTP {}: redirects are not followed; this one names {to}", self.status.as_u16()));
        }
        let said = if self.is_json() {
            let said: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
            said.and_then(|said| said["message"].as_str().map(str::to_owned))
        } else if self.header(header::CONTENT_TYPE).is_some_and(|value| value.starts_with("application/x-protobuf")) {
            tonic_types::Status::decode(&*self.body).ok().map(|status| status.message)
        } else {
            None
        };
        let said = said.unwrap_or_else(|| text(&self.body));
        match said.trim() {
            "" => format!("HTTP {}", self.status),
            said => cut(format!("HTTP {}: {said}", self.status.as_u16())),
        }
    }
}

/// What a body is that nobody described.
fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(4096)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(header::HeaderName, &str)], body: &[u8]) -> Answer {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: body.to_vec() }
    }

    #[test]
    fn statuses_mean_what_the_specification_says_and_stock_gateways_mean() {
        let kind = |status| match answer(status, &[], b"").judge(5).unwrap_err() {
            SendError::Retry { .. } => "retry",
            SendError::Refused { .. } => "refused",
            SendError::BadData { .. } => "bad data",
            SendError::TooLarge { .. } => "too large",
        };
        for status in [408, 429, 502, 503, 504] {
            assert_eq!(kind(status), "retry", "{status}");
        }
        for status in [301, 307, 401, 403, 404, 405, 415, 422, 500, 501, 505] {
            assert_eq!(kind(status), "refused", "{status}");
        }
        assert_eq!((kind(400), kind(413)), ("bad data", "too large"));
        let go = b"Client sent an HTTP request to an HTTPS server.\n";
        assert!(matches!(answer(400, &[], go).judge(5), Err(SendError::Refused { .. })));
        assert!(answer(202, &[], b"").judge(5).is_ok());
    }

    #[test]
    fn a_partial_success_is_read_in_both_encodings() {
        let json = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
        let body = br#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}"#;
        let sent = answer(200, &json, body).judge(5).unwrap();
        assert_eq!(sent, Sent { rejected_items: 2, message: Some("too old".into()) });
        // Field 1, rejected = 9: more than was sent.
        let sent = answer(200, &[], &[0x0a, 2, 0x08, 9]).judge(5).unwrap();
        assert_eq!(sent, Sent { rejected_items: 5, message: None });
        for body in [&b"{}"[..], br#"{"partialSuccess":{}}"#, br#"{"partialSuccess":{"rejectedLogRecords":-3}}"#] {
            assert_eq!(answer(200, &json, body).judge(5).unwrap(), Sent::default());
        }
        let sent = answer(200, &json, b"<html>").judge(5).unwrap();
        assert!(sent.message.unwrap().starts_with("unreadable response"));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = (header::DATE, "Mon, 30 Nov 2026 10:00:00 GMT");
        let after = |value| answer(503, &[(header::RETRY_AFTER, value), now.clone()], b"").retry_after();
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Mon, 30 Nov 2026 10:01:00 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(after("Mon, 30 Nov 2020 10:01:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("soon"), None);
        let undated = answer(503, &[(header::RETRY_AFTER, "Mon, 30 Nov 2026 10:01:00 GMT")], b"");
        assert_eq!(undated.retry_after(), None);
    }

    #[test]
    fn reasons_say_what_the_backend_said() {
        let reason = |answer: Answer| answer.judge(1).unwrap_err().to_string();
        let json = [(header::CONTENT_TYPE, "application/json")];
        assert_eq!(reason(answer(400, &json, br#"{"code":3,"message":"bad field"}"#)), "HTTP 400: bad field");
        let protobuf = [(header::CONTENT_TYPE, "application/x-protobuf")];
        let status = tonic_types::Status { code: 13, message: "no backend".into(), details: Vec::new() };
        assert_eq!(reason(answer(500, &protobuf, &status.encode_to_vec())), "HTTP 500: no backend");
        assert_eq!(reason(answer(502, &[], b"<h1>bad\x1b[31m\ngateway</h1>")), "HTTP 502: <h1>bad [31m gateway</h1>");
        assert_eq!(reason(answer(404, &[], b"")), "HTTP 404 Not Found");
        let moved = [(header::LOCATION, "https://elsewhere/")];
        assert!(
            reason(answer(308, &moved, b"")).contains("redirects are not followed; this one names https://elsewhere/")
        );
        assert!(reason(answer(500, &[], &vec![b'x'; 1 << 20])).len() < 1100);
    }
}
