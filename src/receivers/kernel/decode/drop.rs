//! `kernel.net.packet_drop`: `struct drop_record` of `ebpf/drop.bpf.c`.

use std::net::IpAddr;

use super::{Context, Fields, Head, network_type};
use crate::receivers::kernel::attribution::cgroup::CgroupIds;
use crate::receivers::kernel::events::catalogue::Kind;
use crate::receivers::kernel::events::event::Event;

const FRAMES: usize = 32;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// A packet that was dropped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Drop {
    pub(crate) cgroups: CgroupIds,
    location: u64,
    tuple: Option<Tuple>,
    reason: Option<u32>,
    netns: u32,
    interface: i32,
    interface_name: String,
    bytes: u32,
    ethertype: u16,
    stack: Vec<u64>,
}

/// Addresses and ports: `struct tuple` of `ebpf/packet.h`.
#[derive(Debug, PartialEq, Eq)]
struct Tuple {
    source: IpAddr,
    destination: IpAddr,
    source_port: u16,
    destination_port: u16,
    protocol: u8,
    tcp_flags: u8,
}

impl Drop {
    pub(crate) fn parse(fields: &mut Fields<'_>) -> Option<Self> {
        let cgroups = CgroupIds::parse(fields)?;
        let location = fields.u64()?;
        let tuple = Tuple::parse(fields.bytes(40)?);
        let (reason, netns, interface, bytes) = (fields.u32()?, fields.u32()?, fields.i32()?, fields.u32()?);
        let (ethertype, has_reason) = (fields.u16()?, fields.u8()? != 0);
        fields.u8()?;
        let frames = fields.u32()? as usize;
        let interface_name = fields.text(16)?;
        let mut stack = fields.words(FRAMES)?;
        stack.truncate(frames);
        Some(Self {
            cgroups,
            location,
            tuple,
            reason: has_reason.then_some(reason),
            netns,
            interface,
            interface_name,
            bytes,
            ethertype,
            stack,
        })
    }

    pub(crate) fn event(&self, head: &Head, context: &mut Context<'_>) -> Event {
        let mut event = context.begin(Kind::PacketDrop, head);
        let symbol = context.symbols.name(self.location);
        let stack = context.symbols.stack(&self.stack);
        let reason = self.reason.and_then(|reason| context.reasons.name(reason));
        let attributes = &mut event.attributes;
        attributes.text("kernel.net.drop.reason", reason.map(str::to_owned));
        attributes.text("kernel.net.drop.symbol", symbol.clone());
        attributes.text("network.interface.name", self.interface_name.clone());
        attributes.nonzero("kernel.net.interface.index", self.interface);
        attributes.nonzero("kernel.netns.inode", self.netns);
        if let Some(tuple) = &self.tuple {
            tuple.add_to(attributes);
        }
        attributes.int("kernel.net.packet.length", self.bytes);
        attributes.nonzero("kernel.net.packet.ethertype", self.ethertype);
        attributes.text("code.stacktrace", stack.join("\n"));
        context.socket_cgroup(attributes, self.cgroups);
        event.body = self.body(reason.or(symbol.as_deref()));
        event
    }

    fn body(&self, why: Option<&str>) -> String {
        let mut body = format!("packet of {} bytes dropped", self.bytes);
        if let Some(why) = why {
            body += &format!(": {why}");
        }
        if !self.interface_name.is_empty() {
            body += &format!(" on {}", self.interface_name);
        }
        if let Some(tuple) = &self.tuple {
            body += &format!(", {} -> {}", tuple.end(true), tuple.end(false));
        }
        body
    }
}

impl Tuple {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let (source, destination) = (fields.bytes(16)?, fields.bytes(16)?);
        let (source_port, destination_port, family) = (fields.u16()?, fields.u16()?, fields.u16()?);
        Some(Self {
            source: Fields::new(source).address(family)?,
            destination: Fields::new(destination).address(family)?,
            source_port,
            destination_port,
            protocol: fields.u8()?,
            tcp_flags: fields.u8()?,
        })
    }

    fn add_to(&self, attributes: &mut crate::receivers::kernel::events::event::Attributes) {
        let transport = match self.protocol {
            TCP => Some("tcp"),
            UDP => Some("udp"),
            _ => None,
        };
        attributes.text("network.transport", transport.map(str::to_owned));
        attributes.text("network.type", network_type(self.source).to_owned());
        attributes.text("source.address", self.source.to_string());
        attributes.nonzero("source.port", self.source_port);
        attributes.text("destination.address", self.destination.to_string());
        attributes.nonzero("destination.port", self.destination_port);
        if self.protocol == TCP {
            attributes.text("kernel.net.tcp.flags", tcp_flags(self.tcp_flags));
        }
    }

    /// One end for people: with its port, where there is one.
    fn end(&self, source: bool) -> String {
        let (address, port) =
            if source { (self.source, self.source_port) } else { (self.destination, self.destination_port) };
        if port == 0 { address.to_string() } else { std::net::SocketAddr::new(address, port).to_string() }
    }
}

/// `SYN,ACK`
fn tcp_flags(flags: u8) -> String {
    let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
    let set: Vec<_> =
        names.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1).map(|(_, name)| *name).collect();
    set.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_named_in_the_order_of_their_bits() {
        assert_eq!(tcp_flags(0x12), "SYN,ACK");
        assert_eq!(tcp_flags(0), "");
    }

    #[test]
    fn a_packet_without_addresses_has_no_tuple() {
        assert_eq!(Tuple::parse(&[0; 40]), None);
    }
}
