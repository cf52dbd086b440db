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
    /// In frames (`x-snappy-framed`), or one block: a Collector calls both `snappy`.
    Snappy,
}

/// What both transports tell clients to use.
pub(super) const ACCEPTED: &str = "gzip, zstd, identity";
pub(super) const GRPC_ACCEPTED: &str = "identity,gzip,zstd";

/// A zstd frame may ask for a window of up to 2 GiB; 8 MiB is what RFC 8878 asks every decoder to take.
const ZSTD_WINDOW_MAX: usize = 8 << 20;
/// The least that the decoder can be limited to.
const ZSTD_WINDOW_LOG_MIN: u32 = 10;
/// A frame and what it becomes: 64 KiB at most, as Snappy's framing format says, and a little more compressed.
const SNAPPY_FRAMES: usize = 144 << 10;
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
            () if is("snappy") || is("x-snappy-framed") => Some(Self::Snappy),
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
            Self::Snappy if is_framed(body) => 0,
            Self::Snappy => snap::raw::decompress_len(body).unwrap_or(0),
        }
    }

    /// What inflating a body holds beside what it becomes: the part of it that later parts may refer to.
    pub(super) fn window(self, body: &[u8]) -> usize {
        match self {
            // RFC 1951 and what a decoder adds to it.
            Self::Gzip | Self::Deflate => 64 << 10,
            Self::Zstd => zstd_window(body).min(ZSTD_WINDOW_MAX),
            Self::Snappy => SNAPPY_FRAMES,
            Self::Identity => 0,
        }
    }

    /// Inflates a body. `may_hold` is asked before so many bytes are held, its window among them.
    pub(super) fn inflate(
        self,
        body: &[u8],
        cap: Cap,
        may_hold: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<u8>, Refusal> {
        let broken = |error| Refusal::Encoding { name: self.name(), error };
        let window = self.window(body);
        let mut inflated: Box<dyn Read + '_> = match self {
            Self::Identity => Box::new(body),
            // Members follow each other, as RFC 1952 allows.
            Self::Gzip => Box::new(MultiGzDecoder::new(body)),
            Self::Deflate => Box::new(ZlibDecoder::new(body)),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(body).map_err(broken)?;
                // A later frame gets no more than what the first one was admitted with.
                let log = window.next_power_of_two().ilog2().max(ZSTD_WINDOW_LOG_MIN);
                decoder.window_log_max(log).map_err(broken)?;
                Box::new(decoder)
            }
            Self::Snappy if is_framed(body) && !ends_with_a_chunk(body) => {
                return Err(broken(std::io::ErrorKind::UnexpectedEof.into()));
            }
            Self::Snappy if is_framed(body) => Box::new(snap::read::FrameDecoder::new(body)),
            Self::Snappy => {
                // Made in one piece, and no larger than it says.
                let length = snap::raw::decompress_len(body).map_err(|error| broken(error.into()))?;
                cap.check(length, body.len())?;
                if !may_hold(length) {
                    return Err(Refusal::Busy);
                }
                return snap::raw::Decoder::new().decompress_vec(body).map_err(|error| broken(error.into()));
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
            cap.check(length, body.len())?;
            if !may_hold(length + window) {
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
            Self::Snappy => "snappy",
        }
    }
}

impl Cap {
    /// Whether a body of `compressed` bytes may become so long.
    fn check(self, length: usize, compressed: usize) -> Result<(), Refusal> {
        if length > self.size {
            return Err(Refusal::TooLarge { limit: self.size, key: self.key });
        }
        if length > most_by_ratio(compressed, self.ratio) {
            return Err(Refusal::Ratio { limit: self.ratio });
        }
        Ok(())
    }
}

/// Whether it is Snappy's framing format, by the identifier that begins every stream of it (section 4.1). Of nothing there
/// is no stream.
fn is_framed(body: &[u8]) -> bool {
    body.is_empty() || body.starts_with(b"\xff\x06\x00\x00sNaPpY")
}

/// Whether the last chunk is whole, its head too: a decoder takes a head that is cut for the end. A chunk is a byte of
/// type, three of length, and as many more.
fn ends_with_a_chunk(mut body: &[u8]) -> bool {
    while let Some((&[_, low, middle, high], rest)) = body.split_first_chunk() {
        let length = u32::from_le_bytes([low, middle, high, 0]) as usize;
        let Some(after) = rest.get(length..) else { return false };
        body = after;
    }
    body.is_empty()
}

/// The window that a body's first zstd frame asks for (RFC 8878, section 3.1.1.1); any when it begins otherwise.
fn zstd_window(body: &[u8]) -> usize {
    const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
    const SINGLE_SEGMENT: u8 = 0x20;
    let (Some(&MAGIC), Some(descriptor), Some(window)) = (body.first_chunk(), body.get(4), body.get(5)) else {
        return ZSTD_WINDOW_MAX;
    };
    if descriptor & SINGLE_SEGMENT != 0 {
        // The window is the content.
        return Encoding::Zstd.claimed_size(body);
    }
    let base = 1_usize << (10 + u32::from(window >> 3));
    base + base / 8 * usize::from(window & 7)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const CAP: Cap = Cap { size: 1 << 20, key: "limit", ratio: 1000 };

    fn text() -> Vec<u8> {
        (0..300_000_u32).flat_map(|n| (n / 7).to_le_bytes()).take(300_000).collect()
    }

    fn framed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = snap::write::FrameEncoder::new(Vec::new());
        encoder.write_all(bytes).unwrap();
        encoder.into_inner().unwrap()
    }

    fn block(bytes: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(bytes).unwrap()
    }

    fn inflated(body: &[u8], cap: Cap) -> Result<Vec<u8>, Refusal> {
        Encoding::named("snappy").unwrap().inflate(body, cap, &mut |_| true)
    }

    #[test]
    fn snappy_is_read_in_frames_and_as_one_block() {
        for body in [framed(&text()), block(&text())] {
            assert_eq!(inflated(&body, CAP).unwrap(), text());
            for length in [body.len() - 1, body.len() / 2, 11, 3] {
                let found = inflated(&body[..length], CAP);
                assert!(matches!(found, Err(Refusal::Encoding { .. } | Refusal::Ratio { .. })), "{length}: {found:?}");
            }
        }
        assert_eq!(inflated(&framed(&[]), CAP).unwrap(), [0; 0]);
    }

    #[test]
    fn snappy_keeps_to_the_limits() {
        let nothing = vec![0; 900_000];
        for body in [framed(&nothing), block(&nothing)] {
            let small = Cap { size: 800_000, ..CAP };
            assert!(matches!(inflated(&body, small), Err(Refusal::TooLarge { .. })));
            let tight = Cap { ratio: 10, ..CAP };
            assert!(matches!(inflated(&body, tight), Err(Refusal::Ratio { .. })));
            let mut asked = 0;
            let refused = Encoding::Snappy.inflate(&body, CAP, &mut |bytes| {
                asked = bytes;
                false
            });
            assert!(matches!(refused, Err(Refusal::Busy)) && asked > 0);
        }
        // It says that it becomes 4 GiB.
        assert!(matches!(inflated(b"\xff\xff\xff\xff\x0f\x00", CAP), Err(Refusal::TooLarge { .. })));
    }
}
