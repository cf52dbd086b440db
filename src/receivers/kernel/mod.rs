//! The receiver `kernel`: Linux kernel events through eBPF, as OpenTelemetry events.

mod settings;

pub use settings::{EventSettings, HungTaskSettings, PacketDropSettings, Settings};
