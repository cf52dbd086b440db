//! What became of each hook.

use std::error::Error;
use std::fmt;
use std::io;

use super::hooks::Hook;
use crate::receivers::kernel::events::catalogue::Kind;

/// What became of a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It works.
    Attached,
    /// It works, with less than the best kernel gives; the report says what is less.
    Fallback,
    /// The kernel refused for want of rights.
    Denied,
    /// This kernel does not have it.
    Missing,
    /// The kernel refused for another reason.
    Failed,
    /// The configuration turned the event off.
    Disabled,
}

impl State {
    /// As records and JSON spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::Fallback => "fallback",
            Self::Denied => "denied",
            Self::Missing => "missing",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
        }
    }

    /// Whether events come from it.
    pub fn works(self) -> bool {
        matches!(self, Self::Attached | Self::Fallback)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One hook and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookReport {
    /// The event that needs it; None for what helps every event.
    pub event: Option<&'static str>,
    /// The hook: `tp_btf/mark_victim`.
    pub hook: &'static str,
    /// What became of it.
    pub state: State,
    /// The kernel's errno, where it gave one.
    pub errno: Option<i32>,
    /// The errno's name, or a word for what else went wrong.
    pub error_type: Option<String>,
    /// What is done instead, and what is lost by it.
    pub fallback: Option<String>,
    /// What would make it work.
    pub fix: Option<String>,
}

impl HookReport {
    pub(crate) fn new(kind: Option<Kind>, hook: Hook, state: State) -> Self {
        let event = kind.map(Kind::name);
        Self { event, hook: hook.name(), state, errno: None, error_type: None, fallback: None, fix: None }
    }

    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    pub(crate) fn error_type(mut self, error_type: impl Into<String>) -> Self {
        self.error_type = Some(error_type.into());
        self
    }

    /// A report of what the kernel answered.
    pub(crate) fn refused(kind: Option<Kind>, hook: Hook, error: &(dyn Error + 'static)) -> Self {
        let Some(errno) = errno_of(error) else {
            return Self::new(kind, hook, State::Failed).error_type("load_error").fix(one_line(error));
        };
        let state = if errno == libc_eperm() { State::Denied } else { State::Failed };
        let fix = if state == State::Denied { rights_fix() } else { one_line(error) };
        Self { errno: Some(errno), ..Self::new(kind, hook, state).error_type(errno_name(errno)).fix(fix) }
    }
}

impl fmt::Display for HookReport {
    /// `kernel.oom.kill: denied (EPERM): needs CAP_BPF and CAP_PERFMON`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.event.unwrap_or(self.hook), self.state)?;
        if let Some(error) = &self.error_type {
            write!(f, " ({error})")?;
        }
        for text in [&self.fallback, &self.fix].into_iter().flatten() {
            write!(f, ": {text}")?;
        }
        Ok(())
    }
}

/// What the agent may lack, or who else refuses.
fn rights_fix() -> String {
    let missing: Vec<_> = [("CAP_BPF", super::rights::CAP_BPF), ("CAP_PERFMON", super::rights::CAP_PERFMON)]
        .into_iter()
        .filter(|(_, bit)| !super::rights::effective(*bit))
        .map(|(name, _)| name)
        .collect();
    if missing.is_empty() {
        return "CAP_BPF and CAP_PERFMON are held: kernel lockdown or a security module refuses BPF".to_owned();
    }
    format!("needs {}", missing.join(" and "))
}

fn libc_eperm() -> i32 {
    rustix::io::Errno::PERM.raw_os_error()
}

/// The errno of the deepest I/O error in a chain.
fn errno_of(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    let mut found = None;
    while let Some(error) = next {
        found = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error).or(found);
        next = error.source();
    }
    found
}

/// One line of an error that may hold the verifier's log, whose reason stands before its statistics.
fn one_line(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let statistics = lines.iter().position(|line| line.starts_with("processed "));
    match statistics.and_then(|at| lines.get(at.checked_sub(1)?)) {
        Some(reason) => format!("the verifier refused it: {reason}"),
        None => lines.join(" "),
    }
}

fn errno_name(errno: i32) -> String {
    let name = match errno {
        1 => "EPERM",
        2 => "ENOENT",
        3 => "ESRCH",
        7 => "E2BIG",
        11 => "EAGAIN",
        12 => "ENOMEM",
        13 => "EACCES",
        14 => "EFAULT",
        16 => "EBUSY",
        17 => "EEXIST",
        19 => "ENODEV",
        22 => "EINVAL",
        24 => "EMFILE",
        28 => "ENOSPC",
        38 => "ENOSYS",
        95 => "EOPNOTSUPP",
        524 => "ENOTSUPP",
        other => return format!("errno {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Outer(String, #[source] io::Error);

    fn outer(text: &str, errno: i32) -> Outer {
        Outer(text.to_owned(), io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn want_of_rights_is_told_apart_from_a_refusal() {
        let report = HookReport::refused(Some(Kind::OomKill), Hook::MarkVictim, &outer("loading", 1));
        assert_eq!((report.state, report.errno, report.error_type.as_deref()), (State::Denied, Some(1), Some("EPERM")));
        let report = HookReport::refused(Some(Kind::OomKill), Hook::MarkVictim, &outer("loading", 22));
        assert_eq!((report.state, report.error_type.as_deref()), (State::Failed, Some("EINVAL")));
    }

    #[test]
    fn of_the_verifiers_log_the_reason_is_told() {
        let log = "load: log: reg type\n0: R1=ctx\ninvalid access to memory\nprocessed 5 insns (limit 9)\n";
        let report = HookReport::refused(None, Hook::KfreeSkb, &outer(log, 13));
        assert_eq!(report.fix.as_deref(), Some("the verifier refused it: invalid access to memory"));
    }

    #[test]
    fn a_report_is_a_line_of_the_start_up() {
        let report = HookReport::new(Some(Kind::OomKill), Hook::MarkVictim, State::Denied)
            .error_type("EPERM")
            .fix("needs CAP_BPF and CAP_PERFMON");
        assert_eq!(report.to_string(), "kernel.oom.kill: denied (EPERM): needs CAP_BPF and CAP_PERFMON");
    }
}
