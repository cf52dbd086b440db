//! Who listens on a port, as far as `/proc` shows it.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A process that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its name, as `comm` gives it.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// The process that listens where `endpoint` would. `None` when none does, or when it may not be seen: other users'
/// descriptors show only to root.
#[must_use]
pub fn holder(endpoint: SocketAddr) -> Option<Holder> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().filter_map(|line| listening_inode(line, endpoint)).collect::<Vec<_>>())
        .collect();
    let sockets: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir("/proc").ok()?;
    processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find_map(|pid: u32| {
        let holds = fs::read_dir(format!("/proc/{pid}/fd"))
            .ok()?
            .flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok())
            .any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()));
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        holds.then(|| Holder { pid, name: name.trim().to_owned() })
    })
}

/// The inode of a socket in a line of `/proc/net/tcp*`, if it listens where `endpoint` would.
fn listening_inode(line: &str, endpoint: SocketAddr) -> Option<String> {
    const LISTEN: &str = "0A";
    let columns: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
    let (address, port) = local.split_once(':')?;
    let address = parse_address(address)?;
    let clashes = address == endpoint.ip() || address.is_unspecified() || endpoint.ip().is_unspecified();
    let matches = *state == LISTEN && u16::from_str_radix(port, 16).ok()? == endpoint.port() && clashes;
    matches.then(|| (*inode).to_owned())
}

/// An address as the kernel prints it: 32-bit words in the machine's byte order, as hex.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let word = |i: usize| u32::from_str_radix(hex.get(i * 8..i * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut octets = [0; 16];
            for i in 0..4 {
                octets[i * 4..i * 4 + 4].copy_from_slice(&word(i)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(octets)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_holder_of_a_port_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let found = holder(listener.local_addr().unwrap()).unwrap();
        assert_eq!(found.pid, std::process::id());
        assert!(!found.name.is_empty());
    }

    #[test]
    fn nobody_holds_a_free_port() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(holder(free), None);
    }

    #[test]
    fn a_line_of_the_kernel_is_understood() {
        let line =
            "   1: 0100007F:10DD 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0";
        assert_eq!(listening_inode(line, "127.0.0.1:4317".parse().unwrap()).as_deref(), Some("4242"));
        assert_eq!(listening_inode(line, "127.0.0.2:4317".parse().unwrap()), None);
        assert_eq!(listening_inode(line, "0.0.0.0:4317".parse().unwrap()).as_deref(), Some("4242"));
        assert_eq!(listening_inode(line, "127.0.0.1:4318".parse().unwrap()), None);
    }
}
