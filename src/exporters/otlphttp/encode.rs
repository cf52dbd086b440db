//! Request bodies.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::HeaderValue;

use super::{Compression, Encoding};
use crate::exporters::sink::{Request, SendError};
use crate::otlp::json;

/// Below this work is done at once; above, on a thread where it holds up nobody.
const LARGE: usize = 64 << 10;

pub(super) const fn content_type(encoding: Encoding) -> HeaderValue {
    HeaderValue::from_static(match encoding {
        Encoding::Protobuf => "application/x-protobuf",
        Encoding::Json => "application/json",
    })
}

pub(super) const fn content_encoding(compression: Compression) -> Option<HeaderValue> {
    match compression {
        Compression::Gzip => Some(HeaderValue::from_static("gzip")),
        Compression::Zstd => Some(HeaderValue::from_static("zstd")),
        Compression::None => None,
    }
}

/// The body of a request.
pub(super) async fn body(request: Request, encoding: Encoding, compression: Compression) -> Result<Bytes, SendError> {
    if (encoding, compression) == (Encoding::Protobuf, Compression::None) {
        return Ok(request.payload);
    }
    let is_long = request.payload.len() > LARGE;
    let work = move || write(&request, encoding, compression);
    if !is_long {
        return work();
    }
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(SendError::Retry { reason: format!("the body could not be written: {error}"), after: None })
    })
}

fn write(request: &Request, encoding: Encoding, compression: Compression) -> Result<Bytes, SendError> {
    let plain = match encoding {
        Encoding::Protobuf => request.payload.clone(),
        Encoding::Json => {
            let mut line = String::new();
            // Receivers check what they store, so this does not happen.
            json::write_line(request.signal, &request.payload, &mut line)
                .map_err(|error| SendError::BadData { reason: error.to_string() })?;
            line.truncate(line.trim_end().len());
            line.into()
        }
    };
    let compressed = match compression {
        Compression::None => return Ok(plain),
        Compression::Gzip => gzip(&plain),
        Compression::Zstd => zstd::bulk::compress(&plain, zstd::DEFAULT_COMPRESSION_LEVEL),
    };
    compressed
        .map(Bytes::from)
        .map_err(|error| SendError::Retry { reason: format!("the body could not be compressed: {error}"), after: None })
}

fn gzip(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), flate2::Compression::default());
    encoder.write_all(plain)?;
    encoder.finish()
}
