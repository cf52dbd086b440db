//! What `/proc` tells about a process, and what of its command line may be told on.

use std::io;

use crate::receivers::kernel::decode::Process;

/// Words in an argument's name that mark its value as a secret.
const SECRETS: [&str; 8] = ["password", "passwd", "pwd", "secret", "token", "apikey", "api-key", "credential"];

/// A command line as one line of text: arguments are separated by zeros, values of secrets become `***`. None when
/// there is none.
pub(crate) fn redact(raw: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(raw);
    let mut hide_next = false;
    let arguments: Vec<String> = text
        .split('\0')
        .filter(|argument| !argument.is_empty())
        .map(|argument| {
            if std::mem::take(&mut hide_next) && !argument.starts_with('-') {
                return "***".to_owned();
            }
            match argument.split_once('=') {
                Some((name, _)) if is_secret(name) => format!("{name}=***"),
                Some(_) => hide_userinfo(argument),
                None => {
                    hide_next = argument.starts_with('-') && is_secret(argument);
                    hide_userinfo(argument)
                }
            }
        })
        .collect();
    (!arguments.is_empty()).then(|| arguments.join(" "))
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    SECRETS.iter().any(|secret| name.contains(secret))
}

/// `https://user:word@host` without the word.
fn hide_userinfo(argument: &str) -> String {
    let Some((scheme, rest)) = argument.split_once("://") else { return argument.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.rsplit_once('@').and_then(|(info, host)| Some((info.split_once(':')?.0, host))) {
        Some((user, host)) => format!("{scheme}://{user}:***@{host}{}", &rest[authority.len()..]),
        None => argument.to_owned(),
    }
}

/// The command line of a process that is still there, redacted.
pub(crate) fn command_line(process: &Process) -> Option<String> {
    let directory = format!("/proc/{}", process.pid);
    let raw = std::fs::read(format!("{directory}/cmdline")).ok()?;
    // The pid may be another process's by now.
    let started = stat_field(&std::fs::read_to_string(format!("{directory}/stat")).ok()?, START_TIME)?.parse().ok()?;
    is_started_at(started, process.start).then(|| redact(&raw)).flatten()
}

/// Fields of `/proc/<pid>/stat` after the name, counted from the state.
const STATE: usize = 0;
const START_TIME: usize = 19;
/// The unit of times in `/proc/<pid>/stat` is fixed for user space.
const TICK_NANOS: u64 = 10_000_000;

fn is_started_at(ticks: u64, boot_nanos: u64) -> bool {
    ticks.abs_diff(boot_nanos / TICK_NANOS) <= 1
}

/// The name in parentheses may hold anything, also parentheses.
fn stat_field(stat: &str, index: usize) -> Option<&str> {
    stat.rsplit_once(") ")?.1.split_ascii_whitespace().nth(index)
}

/// A task, as `/proc` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskState {
    /// It is there.
    There {
        /// Whether it is uninterruptible.
        blocked: bool,
        /// How often it was switched from.
        switches: u64,
    },
    /// It is not there any more.
    Gone,
    /// It may not be looked at.
    Unknown,
}

impl TaskState {
    /// How often it was switched from.
    pub(crate) fn switches(self) -> Option<u64> {
        match self {
            Self::There { switches, .. } => Some(switches),
            Self::Gone | Self::Unknown => None,
        }
    }
}

/// Looks at a task now.
pub(crate) fn task_state(pid: u32, tid: u32) -> TaskState {
    let directory = format!("/proc/{pid}/task/{tid}");
    let read = |file: &str| std::fs::read_to_string(format!("{directory}/{file}"));
    match (read("stat"), read("status")) {
        (Ok(stat), Ok(status)) => {
            let switches =
                status.lines().filter_map(|line| line.split_once("ctxt_switches:")?.1.trim().parse::<u64>().ok());
            TaskState::There { blocked: stat_field(&stat, STATE) == Some("D"), switches: switches.sum() }
        }
        (Err(error), _) | (_, Err(error)) if is_gone(&error) => TaskState::Gone,
        _ => TaskState::Unknown,
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_whichever_way_they_are_given() {
        let line = |arguments: &[&str]| redact(arguments.join("\0").as_bytes()).unwrap();
        assert_eq!(line(&["app", "--password", "x", "-v"]), "app --password *** -v");
        assert_eq!(line(&["app", "--db-token=x"]), "app --db-token=***");
        assert_eq!(line(&["env", "API_KEY=x", "run"]), "env API_KEY=*** run");
        assert_eq!(line(&["curl", "https://me:x@host/p?q"]), "curl https://me:***@host/p?q");
        assert_eq!(line(&["ls", "-l", "/tmp"]), "ls -l /tmp");
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        assert_eq!(stat_field("1 (a) b) D 2 3", STATE), Some("D"));
    }

    #[test]
    fn this_task_is_there_and_runs() {
        let (pid, tid) = (std::process::id(), rustix::thread::gettid().as_raw_nonzero().get());
        let state = task_state(pid, u32::try_from(tid).unwrap());
        assert!(matches!(state, TaskState::There { blocked: false, .. }), "{state:?}");
        assert_eq!(task_state(u32::MAX - 1, u32::MAX - 1), TaskState::Gone);
    }

    #[test]
    fn no_arguments_are_no_command_line() {
        assert_eq!(redact(b""), None);
        assert_eq!(redact(b"\0\0"), None);
    }
}
