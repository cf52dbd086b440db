//! `log.record.uid`: the same event always gets the same one, so that a duplicate can be recognised.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};
use ulid::Ulid;

/// What makes a kernel event itself and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity<'a> {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: &'a str,
    /// The event's name.
    pub event: &'a str,
    /// The hook's name.
    pub hook: &'a str,
    /// The CPU that it happened on.
    pub cpu: u32,
    /// The boot clock when it happened.
    pub boot_nanos: u64,
    /// The hook's sequence number.
    pub sequence: u64,
}

/// A ULID of the event's time and 80 bits of a hash over its identity. Never change the hash: stored uids depend on it.
pub(crate) fn uid(unix_nanos: u64, identity: &Identity<'_>) -> String {
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    for text in [identity.boot_id, identity.event, identity.hook] {
        // Each text is ended by a byte that UTF-8 never has, so that no two identities run together.
        hasher.write(text.as_bytes());
        hasher.write(&[0xff]);
    }
    hasher.write(&identity.cpu.to_le_bytes());
    hasher.write(&identity.boot_nanos.to_le_bytes());
    hasher.write(&identity.sequence.to_le_bytes());
    Ulid::from_parts(unix_nanos / 1_000_000, hasher.finish128().as_u128()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: Identity<'static> = Identity {
        boot_id: "0c4e3c4f-45f8-4a28-9f0f-5b8c1f0a1c11",
        event: "kernel.process.crash",
        hook: "tp_btf/signal_deliver",
        cpu: 1,
        boot_nanos: 5_000_000_000,
        sequence: 7,
    };

    /// The value was computed by another implementation of SipHash-1-3.
    #[test]
    fn the_same_event_has_the_same_uid_in_every_release() {
        assert_eq!(uid(1_700_000_000_123_456_789, &EVENT), "01HF7YAT3VMNXS1MNZ63ESKXZP");
    }

    #[test]
    fn every_part_of_the_identity_counts() {
        let base = uid(0, &EVENT);
        let others = [
            Identity { boot_id: "other", ..EVENT },
            Identity { event: "kernel.oom.kill", ..EVENT },
            Identity { hook: "tp_btf/mark_victim", ..EVENT },
            Identity { cpu: 0, ..EVENT },
            Identity { boot_nanos: 5_000_000_001, ..EVENT },
            Identity { sequence: 8, ..EVENT },
        ];
        for other in others {
            assert_ne!(uid(0, &other), base, "{other:?}");
        }
    }

    #[test]
    fn uids_sort_by_time() {
        assert!(uid(1_000_000, &EVENT) < uid(2_000_000, &EVENT));
    }
}
