//! What is printed of a request, some records at a time: as text it may be many times as large.

use std::io::{self, Write};

use super::Verbosity;
use crate::exporters::sink::Request;
use crate::otlp::record::{DecodeError, Part, Parts};
use crate::otlp::render::{Detail, Renderer};

/// So much text is put together before it is written, in bytes.
const CHUNK: usize = 64 << 10;

/// Why a request was not printed, or not to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Output(#[from] io::Error),
    #[error(transparent)]
    Request(#[from] DecodeError),
}

/// How requests are printed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Show {
    verbosity: Verbosity,
    renderer: Renderer,
}

impl Show {
    pub(super) fn new(verbosity: Verbosity, styled: bool) -> Self {
        let detail = match verbosity {
            Verbosity::Basic | Verbosity::Normal => Detail::Brief,
            Verbosity::Detailed => Detail::Full,
        };
        Self { verbosity, renderer: Renderer::new(detail, styled) }
    }

    /// Writes a request and flushes.
    pub(super) fn write(&self, request: &Request, out: &mut impl Write) -> Result<(), Fault> {
        if self.verbosity == Verbosity::Basic {
            let Request { signal, payload, items } = request;
            writeln!(out, "{signal}: {items} items, {} bytes", payload.len())?;
        } else {
            self.write_records(request, out)?;
        }
        Ok(out.flush()?)
    }

    fn write_records(&self, request: &Request, out: &mut impl Write) -> Result<(), Fault> {
        let mut text = String::new();
        for part in Parts::new(request.signal, &request.payload) {
            match part? {
                Part::Records(records) => {
                    for record in records.records() {
                        self.renderer.write(&record, &mut text);
                        if text.len() >= CHUNK {
                            out.write_all(text.as_bytes())?;
                            text.clear();
                        }
                    }
                }
                Part::TooLarge { bytes } => {
                    text.push_str(&format!("- ({}: a record of {bytes} bytes, too large to show)\n", request.signal));
                }
            }
        }
        Ok(out.write_all(text.as_bytes())?)
    }
}
