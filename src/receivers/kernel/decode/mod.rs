//! Records of the rings, as bytes, to events.

mod bytes;
mod crash;
mod process;

pub(super) use bytes::Fields;
pub(super) use process::Process;

use super::attribution::Attribution;
use super::attribution::cgroup::{CgroupIds, Change};
use super::catalogue::Kind;
use super::clock::{self, WallOffset};
use super::event::{Attributes, Event};
use super::hooks::Hook;
use super::host::Host;
use super::settings::Settings;
use super::uid::{Identity, uid};

/// The head of every record: `struct record_head` of `ebpf/hook.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub hook: Hook,
    pub boot_nanos: u64,
    pub sequence: u64,
    pub suppressed_before: u64,
    pub cpu: u32,
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
    pub head: Head,
    pub content: Content,
}

/// What a record tells.
#[derive(Debug)]
pub(super) enum Content {
    Crash(crash::Crash),
    Cgroup(Change),
}

impl Record {
    /// None when the bytes are not a whole record of a known hook.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let head = Head::parse(&mut fields)?;
        let content = match head.hook {
            Hook::SignalDeliver => Content::Crash(crash::Crash::parse(&mut fields)?),
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
            Content::Cgroup(_) => Vec::new(),
        }
    }
}

/// What is needed to make events of records.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub settings: &'a Settings,
    pub host: &'a Host,
    pub wall: WallOffset,
    pub attribution: &'a Attribution,
}

impl Context<'_> {
    /// The event of a record; None when the record is not an event.
    pub(super) fn event(&mut self, record: &Record) -> Option<Event> {
        match &record.content {
            Content::Crash(crash) => Some(crash.event(&record.head, self)),
            Content::Cgroup(_) => None,
        }
    }

    /// An event with the attributes that every event has.
    fn begin(&self, kind: Kind, head: &Head) -> Event {
        let unix_nanos = self.wall.unix_nanos(head.boot_nanos);
        let identity = Identity {
            boot_id: &self.host.boot_id,
            event: kind.name(),
            hook: head.hook.name(),
            cpu: head.cpu,
            boot_nanos: head.boot_nanos,
            sequence: head.sequence,
        };
        let mut attributes = Attributes::default();
        attributes.text("log.record.uid", uid(unix_nanos, &identity));
        attributes.text("kernel.hook.name", head.hook.name().to_owned());
        attributes.int("kernel.hook.sequence", head.sequence);
        attributes.nonzero("kernel.suppressed_before", head.suppressed_before);
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
        attributes.text("process.creation.time", clock::rfc3339(self.wall.unix_nanos(process.start)));
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
            super::attribution::place(path).add_to(attributes);
        }
    }
}
