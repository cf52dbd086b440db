//! What the agent itself takes of the machine, under the Collector's names.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rustix::param::{clock_ticks_per_second, page_size};

use crate::extensions::metrics::{Exposition, Kind};

/// About when the process started: the first look at it.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// One moment of this process; what cannot be read is left out.
#[derive(Debug)]
pub(super) struct Process {
    uptime: Duration,
    cpu: Option<f64>,
    resident: Option<u64>,
}

impl Process {
    /// Begins to count its time.
    pub(super) fn begin() {
        LazyLock::force(&STARTED);
    }

    pub(super) fn now() -> Self {
        let read = |file| std::fs::read_to_string(format!("/proc/self/{file}")).ok();
        Self {
            uptime: STARTED.elapsed(),
            cpu: read("stat").and_then(|stat| cpu_seconds(&stat)),
            resident: read("statm").and_then(|statm| resident_bytes(&statm)),
        }
    }

    pub(super) fn show(&self, exposition: &mut Exposition) {
        exposition.family("otelcol_process_uptime", Kind::Unknown, "Seconds since the agent started.");
        exposition.sample("otelcol_process_uptime", &[], self.uptime.as_secs_f64());
        if let Some(seconds) = self.cpu {
            exposition.family("otelcol_process_cpu_seconds", Kind::Unknown, "Processor time, user and system.");
            exposition.sample("otelcol_process_cpu_seconds", &[], seconds);
        }
        if let Some(bytes) = self.resident {
            exposition.family("otelcol_process_memory_rss", Kind::Gauge, "Resident memory in bytes.");
            exposition.sample("otelcol_process_memory_rss", &[], bytes);
        }
    }
}

/// Of `/proc/self/stat`: utime and stime, the 14th and 15th field. The second is in brackets and may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks: u64 = fields.take(2).map_while(|field| field.parse::<u64>().ok()).sum();
    Some(ticks as f64 / clock_ticks_per_second() as f64)
}

/// Of `/proc/self/statm`: resident pages, the second field.
fn resident_bytes(statm: &str) -> Option<u64> {
    Some(statm.split_whitespace().nth(1)?.parse::<u64>().ok()? * page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_brackets_and_spaces_moves_no_field() {
        let stat = "1 (a ) b) S 1 1 1 0 -1 4194560 1 0 0 0 200 100 0 0 20 0 1 0 1 1 1";
        let ticks = clock_ticks_per_second() as f64;
        assert_eq!(cpu_seconds(stat), Some(300.0 / ticks));
        assert_eq!(cpu_seconds("nothing"), None);
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(Process::now().resident.unwrap() > 1 << 20);
    }
}
