//! Compressed bodies, inflated under limits. The only place that decompresses what a client sent.

use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::refusal::Refusal;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    /// The zlib format, which HTTP calls `deflate`.
    Deflate,
    Zstd,
}

/// What both transports tell clients to use.
pub(super) const ACCEPTED: &str = "gzip, zstd, identity";
pub(super) const GRPC_ACCEPTED: &str = "identity,gzip,zstd";

/// A zstd frame may ask for a window of up to 2 GiB; 8 MiB is what RFC 8878 asks every decoder to take.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Below this any ratio is let through: short bodies of equal bytes shrink well.
const RATIO_FREE: usize = 64 << 10;

/// How far a body may grow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cap {
    /// Bytes at most, and the setting that says so.
    pub(super) size: usize,
    pub(super) key: &'static str,
    /// So many times its compressed size at most.
    pub(super) ratio: usize,
}

/// What a body of this size may inflate to.
pub(super) fn most_by_ratio(compressed: usize, ratio: usize) -> usize {
    compressed.saturating_mul(ratio).max(RATIO_FREE)
}

impl Encoding {
    /// The encoding with this name, in any case; no name is no compression.
    pub(super) fn named(name: &str) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match () {
            () if name.is_empty() || is("identity") => Some(Self::Identity),
            () if is("gzip") => Some(Self::Gzip),
            () if is("deflate") || is("zlib") => Some(Self::Deflate),
            () if is("zstd") => Some(Self::Zstd),
            () => None,
        }
    }

    pub(super) fn is_identity(self) -> bool {
        self == Self::Identity
    }

    /// The inflated size that a body states. A hint: it is the sender's word.
    pub(super) fn claimed_size(self, body: &[u8]) -> usize {
        match self {
            Self::Identity => body.len(),
            Self::Deflate => 0,
            // RFC 1952, ISIZE, at the end; of several members it is the last one's.
            Self::Gzip => body.last_chunk().map_or(0, |size| u32::from_le_bytes(*size) as usize),
            Self::Zstd => match zstd::zstd_safe::get_frame_content_size(body) {
                Ok(Some(size)) => usize::try_from(size).unwrap_or(usize::MAX),
                Ok(None) | Err(_) => 0,
            },
        }
    }

    /// Inflates a body. `may_hold` is asked before so many bytes are held.
    pub(super) fn inflate(
        self,
        body: &[u8],
        cap: Cap,
        may_hold: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<u8>, Refusal> {
        let broken = |error| Refusal::Encoding { name: self.name(), error };
        let mut inflated: Box<dyn Read + '_> = match self {
            Self::Identity => Box::new(body),
            // Members follow each other, as RFC 1952 allows.
            Self::Gzip => Box::new(MultiGzDecoder::new(body)),
            Self::Deflate => Box::new(ZlibDecoder::new(body)),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(body).map_err(broken)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(broken)?;
                Box::new(decoder)
            }
        };
        let by_ratio = most_by_ratio(body.len(), cap.ratio);
        let mut out = Vec::with_capacity(self.claimed_size(body).min(cap.size).min(by_ratio));
        let mut chunk = [0; 16 << 10];
        loop {
            let read = match inflated.read(&mut chunk) {
                Ok(0) => return Ok(out),
                Ok(read) => read,
                Err(error) => return Err(broken(error)),
            };
            let length = out.len() + read;
            if length > cap.size {
                return Err(Refusal::TooLarge { limit: cap.size, key: cap.key });
            }
            if length > by_ratio {
                return Err(Refusal::Ratio { limit: cap.ratio });
            }
            if !may_hold(length) {
                return Err(Refusal::Busy);
            }
            out.extend_from_slice(&chunk[..read]);
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        }
    }
}
