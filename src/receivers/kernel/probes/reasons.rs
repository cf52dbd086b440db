//! Why packets are dropped: the names come from the kernel's own enum, since its numbers differ between kernels.

use super::btf::KernelTypes;

/// How many reasons the kernel side can be told to ignore: `REASONS` of `ebpf/drop.bpf.c`.
const REASONS: u32 = 512;

/// What is normal traffic: freed although nothing was lost, or meant for someone else. Counted, not recorded.
const BENIGN: [&str; 23] = [
    "NOT_DROPPED_YET",
    "CONSUMED",
    "SOCKET_FILTER",
    "SOCKET_CLOSE",
    "UNIX_DISCONNECT",
    "UNIX_SKIP_OOB",
    "PACKET_SOCK_ERROR",
    "OTHERHOST",
    "UNICAST_IN_L2_MULTICAST",
    "LOCAL_MAC",
    "TCP_FLAGS",
    "TCP_OLD_DATA",
    "TCP_OLD_SEQUENCE",
    "TCP_OLD_ACK",
    "TCP_TOO_OLD_ACK",
    "TCP_OFOMERGE",
    "TCP_CLOSE",
    "TCP_RESET",
    "IPV6DISABLED",
    "QUEUE_PURGE",
    "DUP_FRAG",
    "TAP_FILTER",
    "TAP_TXFILTER",
];

/// The reasons that this kernel knows.
#[derive(Debug, Default)]
pub(crate) struct Reasons(Vec<(u32, String)>);

impl Reasons {
    /// Reads the enum, without its names' common beginning.
    pub(crate) fn read(types: &KernelTypes<'_>) -> Self {
        let strip = |name: &str| {
            let name = name.strip_prefix("SKB_DROP_REASON_").or_else(|| name.strip_prefix("SKB_")).unwrap_or(name);
            name.to_owned()
        };
        Self(types.enumerators("skb_drop_reason").into_iter().map(|(name, value)| (value, strip(name))).collect())
    }

    /// The name of a reason; None for one of a subsystem's own list.
    pub(crate) fn name(&self, reason: u32) -> Option<&str> {
        self.0.iter().find(|(value, _)| *value == reason).map(|(_, name)| name.as_str())
    }

    /// The numbers of the reasons that are not recorded: the benign ones, and `others` by name.
    pub(crate) fn ignored(&self, others: &[String]) -> Vec<u32> {
        let is_ignored = |name: &str| BENIGN.contains(&name) || others.iter().any(|other| other == name);
        let ignored = self.0.iter().filter(|(value, name)| *value < REASONS && is_ignored(name));
        ignored.map(|(value, _)| *value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons() -> Reasons {
        Reasons(vec![(1, "CONSUMED".to_owned()), (3, "NO_SOCKET".to_owned()), (13, "OTHERHOST".to_owned())])
    }

    #[test]
    fn benign_reasons_and_those_of_the_configuration_are_ignored() {
        assert_eq!(reasons().ignored(&[]), [1, 13]);
        assert_eq!(reasons().ignored(&["NO_SOCKET".to_owned()]), [1, 3, 13]);
    }

    #[test]
    fn a_reason_that_the_enum_lacks_has_no_name() {
        assert_eq!(reasons().name(3), Some("NO_SOCKET"));
        assert_eq!(reasons().name(0x2_0001), None);
    }
}
