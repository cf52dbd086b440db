//! `kernel.net.tcp_retransmit`: `struct retransmit_record` of `ebpf/retransmit.bpf.c`.

use std::net::IpAddr;

use super::{Context, Fields, Head, network_type};
use crate::receivers::kernel::attribution::cgroup::CgroupIds;
use crate::receivers::kernel::events::catalogue::Kind;
use crate::receivers::kernel::events::event::Event;

/// A segment or SYN-ACK that was sent again.
#[derive(Debug, PartialEq)]
pub(crate) struct Retransmit {
    pub(crate) cgroups: CgroupIds,
    local: (IpAddr, u16),
    peer: (IpAddr, u16),
    netns: u32,
    /// Sequence number and length; a SYN-ACK has none.
    segment: Option<(u32, u32)>,
    srtt: Option<f64>,
    error: i32,
    state: u8,
    ca_state: u8,
    retransmits: u8,
    kind: &'static str,
}

impl Retransmit {
    pub(crate) fn parse(fields: &mut Fields<'_>) -> Option<Self> {
        let cgroups = CgroupIds::parse(fields)?;
        let (local, peer) = (fields.bytes(16)?, fields.bytes(16)?);
        let (netns, sequence, length, srtt) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
        let error = fields.i32()?;
        let (local_port, peer_port, family) = (fields.u16()?, fields.u16()?, fields.u16()?);
        let (state, ca_state, retransmits) = (fields.u8()?, fields.u8()?, fields.u8()?);
        let kind = match fields.u8()? {
            0 => "data",
            1 => "syn",
            2 => "synack",
            _ => return None,
        };
        let has_segment = fields.u8()? != 0;
        Some(Self {
            cgroups,
            local: (Fields::new(local).address(family)?, local_port),
            peer: (Fields::new(peer).address(family)?, peer_port),
            netns,
            segment: has_segment.then_some((sequence, length)),
            // The kernel keeps eighths of a microsecond.
            srtt: (srtt > 0).then(|| f64::from(srtt) / 8e6),
            error,
            state,
            ca_state,
            retransmits,
            kind,
        })
    }

    pub(crate) fn event(&self, head: &Head, context: &Context<'_>) -> Event {
        let mut event = context.begin(Kind::TcpRetransmit, head);
        let attributes = &mut event.attributes;
        attributes.text("network.transport", "tcp".to_owned());
        attributes.text("network.type", network_type(self.peer.0).to_owned());
        attributes.text("network.local.address", self.local.0.to_string());
        attributes.int("network.local.port", self.local.1);
        attributes.text("network.peer.address", self.peer.0.to_string());
        attributes.int("network.peer.port", self.peer.1);
        attributes.text("network.connection.state", connection_state(self.state).map(str::to_owned));
        attributes.nonzero("kernel.netns.inode", self.netns);
        attributes.text("kernel.net.tcp.kind", self.kind.to_owned());
        if let Some((sequence, length)) = self.segment {
            attributes.text("kernel.net.tcp.ca_state", ca_state(self.ca_state).map(str::to_owned));
            attributes.int("kernel.net.tcp.sequence", sequence);
            attributes.int("kernel.net.tcp.segment_length", length);
        }
        attributes.int("kernel.net.tcp.retransmits", self.retransmits);
        attributes.seconds("kernel.net.tcp.srtt", self.srtt);
        attributes.nonzero("kernel.net.tcp.error", self.error);
        context.socket_cgroup(attributes, self.cgroups);
        let endpoint = |(address, port): (IpAddr, u16)| std::net::SocketAddr::new(address, port);
        event.body = format!("{} sent again: {} -> {}", self.kind, endpoint(self.local), endpoint(self.peer));
        event
    }
}

/// As the semantic conventions spell the kernel's TCP states.
fn connection_state(state: u8) -> Option<&'static str> {
    Some(match state {
        1 => "established",
        2 => "syn_sent",
        3 | 12 => "syn_received",
        4 => "fin_wait_1",
        5 => "fin_wait_2",
        6 => "time_wait",
        7 => "closed",
        8 => "close_wait",
        9 => "last_ack",
        10 => "listen",
        11 => "closing",
        _ => return None,
    })
}

/// The state of congestion control.
fn ca_state(state: u8) -> Option<&'static str> {
    ["open", "disorder", "cwr", "recovery", "loss"].get(usize::from(state)).copied()
}
