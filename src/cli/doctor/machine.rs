//! What the kernel is, and which rights this process has.

use std::path::Path;

/// The capabilities that some part of the agent can use, by their number.
const KNOWN: [(u32, &str); 6] = [
    (19, "CAP_SYS_PTRACE"),
    (21, "CAP_SYS_ADMIN"),
    (24, "CAP_SYS_RESOURCE"),
    (34, "CAP_SYSLOG"),
    (38, "CAP_PERFMON"),
    (39, "CAP_BPF"),
];

/// The kernel and the rights.
#[derive(Debug)]
pub(super) struct Machine {
    /// Its release: `6.1.0-18-amd64`.
    pub(super) kernel: String,
    /// Whether the kernel describes its types, which every hook needs.
    pub(super) btf: bool,
    /// Those of [`KNOWN`] that are in effect.
    pub(super) capabilities: Vec<&'static str>,
}

impl Machine {
    pub(super) fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
            capabilities: effective(&status),
        }
    }

    pub(super) fn has(&self, capability: &str) -> bool {
        self.capabilities.contains(&capability)
    }
}

fn effective(status: &str) -> Vec<&'static str> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    KNOWN.iter().filter(|(bit, _)| set >> bit & 1 == 1).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_effective_set() {
        let status = "Name:\tx\nCapPrm:\tffffffffffffffff\nCapEff:\t000000c000000000\nCapBnd:\tffffffffffffffff\n";
        assert_eq!(effective(status), ["CAP_PERFMON", "CAP_BPF"]);
        assert_eq!(effective("Name:\tx\n"), Vec::<&str>::new());
    }
}
