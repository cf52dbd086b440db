//! The receiver `kernel`: Linux kernel events through eBPF, as OpenTelemetry events.
//!
//! [`attach()`] loads the programs of `ebpf/` one by one, before privileges are dropped; [`Probes::start`] begins the
//! thread that takes records out of the rings, makes OTLP export requests of them and gives them to an [`Intake`].
//!
//! For each hook, exactly: seen = suppressed + lost + emitted ([`Probes::counters`]).
//!
//! [`Intake`]: crate::receivers::Intake

mod attribution;
mod decode;
mod events;
mod probes;
mod reader;
mod settings;

pub use events::teller::{LogLoss, Teller};
pub use probes::attach::{Probes, attach};
pub use probes::report::{HookReport, State};
pub use reader::gaps::Counters;
pub use reader::run::{Running, Stopped};
pub use settings::{EventSettings, HungTaskSettings, PacketDropSettings, RingSettings, Settings};
