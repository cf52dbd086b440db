//! Reads the fields of a record in their order. Records are parsed, never cast: a short one is an answer, not a fault.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The rest of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Begins at the first byte.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `len` bytes; None past the end.
    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    /// Whether the record ends here.
    pub(crate) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        Some(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_ne_bytes)
    }

    pub(crate) fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_ne_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_ne_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_ne_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_ne_bytes)
    }

    /// `count` words.
    pub(crate) fn words(&mut self, count: usize) -> Option<Vec<u64>> {
        (0..count).map(|_| self.u64()).collect()
    }

    /// Text in a field of `len` bytes, up to the first zero.
    pub(crate) fn text(&mut self, len: usize) -> Option<String> {
        let bytes = self.bytes(len)?;
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(len);
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    /// An address in network order in a field of 16 bytes; IPv4 fills the first four. None for another family.
    pub(crate) fn address(&mut self, family: u16) -> Option<IpAddr> {
        let bytes = self.array::<16>()?;
        match family {
            AF_INET => Some(IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]))),
            // An IPv4 peer of an IPv6 socket is an IPv4 peer.
            AF_INET6 => Some(Ipv6Addr::from(bytes).to_canonical()),
            _ => None,
        }
    }
}

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
