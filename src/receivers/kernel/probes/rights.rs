//! Which rights this process has.

/// The bit of CAP_PERFMON.
pub(crate) const CAP_PERFMON: u32 = 38;
/// The bit of CAP_BPF.
pub(crate) const CAP_BPF: u32 = 39;

/// Whether a capability is in the effective set.
pub(crate) fn effective(bit: u32) -> bool {
    effective_set() >> bit & 1 == 1
}

fn effective_set() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}
