//! The receiver `kernel`: Linux kernel events through eBPF, as OpenTelemetry events.
//!
//! [`attach()`] loads the programs of `ebpf/` one by one, before privileges are dropped; [`Probes::start`] begins the
//! thread that takes records out of the rings, makes OTLP export requests of them and gives them to an [`Intake`].
//!
//! For each hook, exactly: seen = suppressed + lost + emitted ([`Probes::counters`]).
//!
//! [`Intake`]: crate::receivers::Intake

mod attach;
mod attribution;
mod btf;
mod catalogue;
mod clock;
mod collector;
mod decode;
mod encode;
mod episodes;
mod event;
mod gaps;
mod hooks;
mod host;
mod list;
mod loss;
mod memory;
mod object;
mod outbox;
mod reasons;
mod report;
mod rights;
mod ring;
mod run;
mod settings;
mod signals;
mod source;
mod standing;
mod symbols;
mod teller;
mod turn;
mod uid;
mod units;
mod worker;

pub use attach::{Probes, attach};
pub use gaps::Counters;
pub use report::{HookReport, State};
pub use run::{Running, Stopped};
pub use settings::{EventSettings, HungTaskSettings, PacketDropSettings, RingSettings, Settings};
pub use teller::{LogLoss, Teller};
