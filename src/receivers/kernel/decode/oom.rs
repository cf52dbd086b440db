//! `kernel.oom.kill`: `struct oom_record` of `ebpf/oom.bpf.c`.

use super::memory::{HostMemory, top_tasks};
use super::{Context, Fields, Head, Process};
use crate::receivers::kernel::attribution::cgroup::{CgroupIds, Key};
use crate::receivers::kernel::attribution::{place, process};
use crate::receivers::kernel::events::catalogue::Kind;
use crate::receivers::kernel::events::event::Event;

const LIMITS: usize = 12;
const LIMIT_PATH_FIELD: usize = 512;
/// A cgroup this close to its limit is the one that hit it: the charge that failed is at most one batch.
const BATCH_PAGES: u64 = 64;

/// A task chosen to die for want of memory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OomKill {
    pub(crate) victim: Process,
    pages: Pages,
    page_tables: u64,
    pub(crate) trigger_cgroups: CgroupIds,
    trigger_pid: u32,
    trigger_comm: String,
    constraint: Option<&'static str>,
    score_adj: i16,
    /// From the victim's memory cgroup up to the root.
    limits: Vec<Limit>,
    /// The cgroup whose limit was hit, as the kernel logged it.
    limit_path: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Pages {
    file: u64,
    anon: u64,
    shmem: u64,
    total: u64,
}

/// A memory cgroup's usage and limit in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    id: u64,
    usage: u64,
    max: u64,
}

impl OomKill {
    pub(crate) fn parse(fields: &mut Fields<'_>) -> Option<Self> {
        let victim = Process::parse(fields)?;
        let pages = Pages { file: fields.u64()?, anon: fields.u64()?, shmem: fields.u64()?, total: fields.u64()? };
        let page_tables = fields.u64()?;
        let trigger_cgroups = CgroupIds::parse(fields)?;
        let (trigger_pid, constraint) = (fields.u32()?, constraint(fields.u32()?));
        let (score_adj, limits, path_bytes) = (fields.i16()?, fields.u16()?, fields.u16()?);
        fields.u16()?;
        let trigger_comm = fields.text(16)?;
        let all = (0..LIMITS).map(|_| Some(Limit { id: fields.u64()?, usage: fields.u64()?, max: fields.u64()? }));
        let mut all = all.collect::<Option<Vec<_>>>()?;
        all.truncate(usize::from(limits));
        let limit_path = fields.bytes(LIMIT_PATH_FIELD)?.get(..usize::from(path_bytes))?;
        let limit_path = String::from_utf8_lossy(limit_path).trim_end().to_owned();
        Some(Self {
            victim,
            pages,
            page_tables,
            trigger_cgroups,
            trigger_pid,
            trigger_comm,
            constraint,
            score_adj,
            limits: all,
            limit_path: Some(limit_path).filter(|path| path.starts_with('/')),
        })
    }

    /// Every cgroup that the event names.
    pub(crate) fn cgroups(&self) -> Vec<CgroupIds> {
        vec![self.victim.cgroups, self.trigger_cgroups]
    }

    pub(crate) fn event(&self, head: &Head, context: &Context<'_>) -> Event {
        let mut event = context.begin(Kind::OomKill, head);
        let command_line = context.settings.command_line.then(|| process::command_line(&self.victim)).flatten();
        context.process(&mut event, &self.victim, command_line);
        let culprit = self.culprit(context);
        let constraint = self.constraint.or(culprit.map(|_| "memcg"));
        let attributes = &mut event.attributes;
        attributes.text("kernel.oom.constraint", constraint.map(str::to_owned));
        attributes.int("kernel.oom.score_adj", self.score_adj);
        let bytes = |pages: u64| pages.checked_mul(context.page);
        // A victim that gave up its memory already has no sizes any more.
        if self.pages.total > 0 {
            attributes.some_int("kernel.oom.rss.anon", bytes(self.pages.anon));
            attributes.some_int("kernel.oom.rss.file", bytes(self.pages.file));
            attributes.some_int("kernel.oom.rss.shmem", bytes(self.pages.shmem));
            attributes.some_int("kernel.oom.vm.total", bytes(self.pages.total));
            attributes.int("kernel.oom.page_tables", self.page_tables);
        }
        let path = culprit.and_then(|limit| context.attribution.cgroups.path(self.key(limit.id)));
        let path = self.limit_path.as_deref().or(path);
        attributes.text("kernel.oom.cgroup.path", path.map(str::to_owned));
        attributes.some_int("kernel.oom.cgroup.limit", culprit.and_then(|limit| bytes(limit.max)));
        attributes.some_int("kernel.oom.cgroup.usage", culprit.and_then(|limit| bytes(limit.usage)));
        self.trigger(&mut event, context);
        self.host(&mut event, culprit, context);
        event.body = self.body(path, culprit.and_then(|limit| bytes(limit.max)), context.page);
        event
    }

    fn trigger(&self, event: &mut Event, context: &Context<'_>) {
        let attributes = &mut event.attributes;
        attributes.nonzero("kernel.oom.trigger.pid", self.trigger_pid);
        attributes.text("kernel.oom.trigger.comm", self.trigger_comm.clone());
        if let Some(path) = context.attribution.cgroups.best(self.trigger_cgroups).and_then(|best| best.path) {
            attributes.text("kernel.oom.trigger.cgroup.path", path.to_owned());
            attributes.text("kernel.oom.trigger.container.id", place(path).container_id);
        }
    }

    /// The machine as it is when the record is read, a moment after the kill.
    fn host(&self, event: &mut Event, culprit: Option<Limit>, context: &Context<'_>) {
        let memory = HostMemory::read();
        event.attributes.some_int("kernel.oom.host.memory.total", memory.total);
        event.attributes.some_int("kernel.oom.host.memory.available", memory.available);
        let tasks = match culprit {
            Some(limit) => match context.attribution.cgroups.directory(self.key(limit.id)) {
                Some(directory) => top_tasks(Some(&directory), context.page),
                None => Vec::new(),
            },
            None => top_tasks(None, context.page),
        };
        event.attributes.list("kernel.oom.top_tasks", tasks);
    }

    /// The cgroup whose limit was hit: the one that the kernel logged, or the innermost that is at its limit.
    fn culprit(&self, context: &Context<'_>) -> Option<Limit> {
        if matches!(self.constraint, Some(constraint) if constraint != "memcg") {
            return None;
        }
        let named = |limit: &&Limit| {
            let path = context.attribution.cgroups.path(self.key(limit.id));
            self.limit_path.is_some() && path == self.limit_path.as_deref()
        };
        let at_limit = |limit: &&Limit| limit.usage.saturating_add(BATCH_PAGES) >= limit.max;
        self.limits.iter().find(named).or_else(|| self.limits.iter().find(at_limit)).copied()
    }

    fn key(&self, id: u64) -> Key {
        Key { hierarchy: self.victim.cgroups.memory_hierarchy, id }
    }

    fn body(&self, path: Option<&str>, limit: Option<u64>, page: u64) -> String {
        let resident = (self.pages.anon + self.pages.file + self.pages.shmem).saturating_mul(page);
        let mut body =
            format!("out of memory: killed {} (pid {}, {})", self.victim.comm, self.victim.pid, mib(resident));
        if let Some(path) = path {
            body += &format!(" in {path}");
        }
        if let Some(limit) = limit {
            body += &format!(", limit {}", mib(limit));
        }
        body
    }
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// `enum constraint` of `ebpf/oom.bpf.c`.
fn constraint(number: u32) -> Option<&'static str> {
    match number {
        1 => Some("none"),
        2 => Some("cpuset"),
        3 => Some("memory_policy"),
        4 => Some("memcg"),
        _ => None,
    }
}
