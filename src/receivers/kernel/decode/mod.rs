//! Records of the rings, as bytes, to events.

use std::net::IpAddr;

mod bytes;
mod crash;
mod drop;
pub(crate) mod hung;
mod memory;
mod oom;
mod process;
mod retransmit;
mod signals;
pub(super) mod symbols;

pub(super) use bytes::Fields;
pub(super) use process::Process;

use super::attribution::Attribution;
use super::attribution::cgroup::{CgroupIds, Change};
use super::events::catalogue::Kind;
use super::events::clock::{self, WallOffset};
use super::events::event::{Attributes, Event};
use super::events::host::Host;
use super::events::uid::{Identity, uid};
use super::probes::hooks::Hook;
use super::probes::reasons::Reasons;
use super::reader::episodes::Episodes;
use super::settings::Settings;
use symbols::Symbols;

/// The head of every record: `struct record_head` of `ebpf/hook.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(crate) hook: Hook,
    pub(crate) boot_nanos: u64,
    pub(crate) sequence: u64,
    pub(crate) suppressed_before: u64,
    pub(crate) cpu: u32,
}

impl Head {
    fn parse(fields: &mut Fields<'_>) -> Option<Self> {
        let (boot_nanos, sequence, suppressed_before) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let hook = Hook::from_number(fields.u32()?)?;
        Some(Self { hook, boot_nanos, sequence, suppressed_before, cpu: fields.u32()? })
    }

    /// The hook of a record that cannot be parsed any further.
    pub(super) fn hook_of(bytes: &[u8]) -> Option<Hook> {
        Self::parse(&mut Fields::new(bytes)).map(|head| head.hook)
    }
}

/// One record of a ring.
#[derive(Debug)]
pub(super) struct Record {
    pub(crate) head: Head,
    pub(crate) content: Content,
}

/// What a record tells.
#[derive(Debug)]
pub(super) enum Content {
    Crash(crash::Crash),
    OomKill(oom::OomKill),
    Hung(hung::Hung),
    Retransmit(retransmit::Retransmit),
    Drop(drop::Drop),
    Cgroup(Change),
}

impl Record {
    /// None when the bytes are not a whole record of a known hook.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let head = Head::parse(&mut fields)?;
        let content = match head.hook {
            Hook::SignalDeliver => Content::Crash(crash::Crash::parse(&mut fields)?),
            Hook::MarkVictim => Content::OomKill(oom::OomKill::parse(&mut fields)?),
            Hook::ProcessHang => Content::Hung(hung::Hung::parse(&mut fields)?),
            Hook::TcpRetransmit | Hook::TcpSynack => Content::Retransmit(retransmit::Retransmit::parse(&mut fields)?),
            Hook::KfreeSkb => Content::Drop(drop::Drop::parse(&mut fields)?),
            Hook::CgroupMkdir => Content::Cgroup(Change::parse(&mut fields, true)?),
            Hook::CgroupRmdir => Content::Cgroup(Change::parse(&mut fields, false)?),
            _ => return None,
        };
        Some(Self { head, content })
    }

    /// The cgroups whose paths the event needs.
    pub(super) fn cgroups(&self) -> Vec<CgroupIds> {
        match &self.content {
            Content::Crash(crash) => vec![crash.process.cgroups],
            Content::OomKill(kill) => kill.cgroups(),
            Content::Hung(hung) => vec![hung.process.cgroups],
            Content::Retransmit(retransmit) => vec![retransmit.cgroups],
            Content::Drop(drop) => vec![drop.cgroups],
            Content::Cgroup(_) => Vec::new(),
        }
    }
}

/// What is needed to make events of records.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) host: &'a Host,
    pub(crate) wall: WallOffset,
    pub(crate) attribution: &'a Attribution,
    pub(crate) reasons: &'a Reasons,
    pub(crate) symbols: &'a mut Symbols,
    pub(crate) episodes: &'a mut Episodes,
    /// The tasks that are blocked now, where they were listed.
    pub(crate) listing: Option<&'a mut hung::Listing>,
    /// Bytes of a page.
    pub(crate) page: u64,
}

impl Context<'_> {
    /// The event of a record; None when the record is not an event.
    pub(super) fn event(&mut self, record: &Record) -> Option<Event> {
        match &record.content {
            Content::Crash(crash) => Some(crash.event(&record.head, self)),
            Content::OomKill(kill) => Some(kill.event(&record.head, self)),
            Content::Hung(hung) => Some(hung.event(&record.head, self)),
            Content::Retransmit(retransmit) => Some(retransmit.event(&record.head, self)),
            Content::Drop(drop) => Some(drop.event(&record.head, self)),
            Content::Cgroup(_) => None,
        }
    }

    /// An event with the attributes that every event has.
    fn begin(&self, kind: Kind, head: &Head) -> Event {
        let mut event = self.begin_at(kind, head.hook.name(), head.cpu, head.boot_nanos, head.sequence);
        event.attributes.int("kernel.hook.sequence", head.sequence);
        event.attributes.nonzero("kernel.suppressed_before", head.suppressed_before);
        event
    }

    /// An event that was found by looking, not told by a hook.
    fn begin_polled(&self, kind: Kind, source: &'static str, boot_nanos: u64, number: u64) -> Event {
        self.begin_at(kind, source, 0, boot_nanos, number)
    }

    fn begin_at(&self, kind: Kind, hook: &str, cpu: u32, boot_nanos: u64, sequence: u64) -> Event {
        let unix_nanos = self.wall.unix_nanos(boot_nanos);
        let identity = Identity { boot_id: &self.host.boot_id, event: kind.name(), hook, cpu, boot_nanos, sequence };
        let mut attributes = Attributes::default();
        attributes.text("log.record.uid", uid(unix_nanos, &identity));
        attributes.text("kernel.hook.name", hook.to_owned());
        Event { kind, severity: kind.severity(), unix_nanos, body: String::new(), attributes }
    }

    /// Adds the process block.
    fn process(&self, event: &mut Event, process: &Process, command_line: Option<String>) {
        let attributes = &mut event.attributes;
        attributes.nonzero("process.pid", process.pid);
        attributes.nonzero("process.vpid", process.vpid);
        attributes.nonzero("process.parent_pid", process.parent_pid);
        attributes.text("process.executable.name", process.exe_name.clone());
        attributes.text("process.executable.path", process.exe_path.clone());
        // To the millisecond: two measurements of the offset differ by less, and the time should be the same on every
        // event of the process.
        let created = self.wall.unix_nanos(process.start) / 1_000_000 * 1_000_000;
        attributes.text("process.creation.time", clock::rfc3339(created));
        attributes.some_int("process.user.id", process.user_id);
        attributes.text("process.command_line", command_line);
        attributes.nonzero("kernel.thread.id", process.tid);
        attributes.text("kernel.thread.comm", process.comm.clone());
        attributes.nonzero("kernel.netns.inode", process.netns);
        self.cgroup(attributes, process.cgroups);
    }

    /// Adds the cgroup and what its path tells.
    fn cgroup(&self, attributes: &mut Attributes, ids: CgroupIds) {
        let Some(cgroup) = self.attribution.cgroups.best(ids) else { return };
        attributes.int("kernel.cgroup.id", cgroup.id);
        attributes.text("kernel.cgroup.path", cgroup.path.map(str::to_owned));
        if let Some(path) = cgroup.path {
            self.attribution.describe(attributes, path);
        }
    }

    /// Adds the cgroup of a socket. The root says nothing: it is also what a socket without a cgroup has.
    fn socket_cgroup(&self, attributes: &mut Attributes, ids: CgroupIds) {
        let best = self.attribution.cgroups.best(ids);
        if best.is_some_and(|best| best.path.is_some_and(|path| path != "/")) {
            self.cgroup(attributes, ids);
        }
    }
}

fn network_type(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ipv4" } else { "ipv6" }
}
