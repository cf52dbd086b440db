//! What OTLP backends say, whatever the transport.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;

use super::sink::Sent;

/// Reasons are kept with dead letters and shown in health: a backend's text is cut after this many bytes.
const MAX_REASON: usize = 1024;

/// Reads an `Export…ServiceResponse` of a request with so many items. The three signals' responses have the same fields.
pub(super) fn sent(response: &[u8], items: u64) -> Sent {
    match ExportLogsServiceResponse::decode(response) {
        Ok(response) => {
            let partial = response.partial_success.unwrap_or_default();
            partly_sent(partial.rejected_log_records, partial.error_message, items)
        }
        Err(error) => unreadable(&error),
    }
}

/// As [`sent`], of OTLP JSON.
#[cfg(feature = "agent")]
pub(super) fn sent_json(response: &[u8], items: u64) -> Sent {
    let response: serde_json::Value = match serde_json::from_slice(response) {
        Ok(response) => response,
        Err(error) => return unreadable(&error),
    };
    let partial = &response["partialSuccess"];
    let rejected = ["rejectedLogRecords", "rejectedSpans", "rejectedDataPoints"].iter().find_map(|name| {
        let rejected = &partial[name];
        rejected.as_i64().or_else(|| rejected.as_str()?.parse().ok())
    });
    partly_sent(rejected.unwrap_or(0), partial["errorMessage"].as_str().unwrap_or_default().to_owned(), items)
}

fn partly_sent(rejected: i64, message: String, items: u64) -> Sent {
    Sent {
        // A backend cannot reject more than it was sent.
        rejected_items: u64::try_from(rejected).unwrap_or(0).min(items),
        message: Some(cut(message)).filter(|message| !message.is_empty()),
    }
}

/// The status said OK: the records were taken, whatever the body is.
pub(super) fn unreadable(error: &dyn std::error::Error) -> Sent {
    Sent { rejected_items: 0, message: Some(format!("unreadable response: {error}")) }
}

/// A text of the backend's as one line, not too long: it goes to logs, terminals and dead letters.
pub(super) fn cut(mut text: String) -> String {
    if text.contains(char::is_control) {
        text = text.replace(char::is_control, " ");
    }
    if text.len() > MAX_REASON {
        let end = (0..=MAX_REASON).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}
