//! With which rights the hooks attach, and that none are needed afterwards. Rights are a thread's own: each test takes
//! them from a thread of its own, as `attach` and `reload` work on the calling thread.

use std::process::Command;
use std::sync::Arc;

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_thread_res_uid};
use tidegate::receivers::kernel::{self, Probes, State};

use crate::harness::{Agent, generous};
use crate::reload::states;

fn limit(capabilities: CapabilitySet) {
    let sets = CapabilitySets { effective: capabilities, permitted: capabilities, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).expect("fewer rights");
}

fn in_thread<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(job).join().expect("the job failed, see above")
}

#[test]
fn an_ordinary_user_is_told_what_each_hook_needs_and_the_receiver_runs() {
    let agent = in_thread(|| {
        let nobody = rustix::process::Uid::from_raw(65534);
        set_thread_res_uid(nobody, nobody, nobody).expect("another user");
        let probes = kernel::attach(&generous());
        assert_eq!((probes.attached(), probes.wanted()), (0, 5));
        for report in probes.reports().iter().chain(probes.helpers()) {
            assert_eq!((report.state, report.errno), (State::Denied, Some(1)), "{report}");
            assert_eq!(report.error_type.as_deref(), Some("EPERM"));
            assert_eq!(report.fix.as_deref(), Some("needs CAP_BPF and CAP_PERFMON"));
        }
        let line = probes.reports()[0].to_string();
        assert_eq!(line, "kernel.oom.kill: denied (EPERM): needs CAP_BPF and CAP_PERFMON");
        // The log's directory is root's here: only the attaching is the user's.
        probes
    });
    let agent = Agent::start_probes(agent);
    let record = agent.wait("collector.probe_state", |record| {
        record.has("kernel.event.name") && record.text("kernel.event.name") == "kernel.process.crash"
    });
    assert_eq!(record.severity, 13);
    assert_eq!(record.text("collector.probe.state"), "denied");
    assert_eq!(record.text("error.type"), "EPERM");
    assert_eq!(record.int("collector.probe.errno"), 1);
    assert_eq!(record.text("collector.probe.fix"), "needs CAP_BPF and CAP_PERFMON");
    agent.stop();
}

#[test]
fn two_capabilities_attach_everything_and_none_are_needed_to_drain() {
    let agent = in_thread(|| {
        limit(CapabilitySet::BPF | CapabilitySet::PERFMON);
        let probes: Probes = kernel::attach(&generous());
        for report in probes.reports() {
            assert_eq!(report.state, State::Attached, "{report}");
        }
        // The draining thread inherits what this one has left.
        limit(CapabilitySet::empty());
        Agent::start_probes(probes)
    });
    let mut child = Command::new("sh").args(["-c", "kill -BUS $$"]).spawn().expect("sh");
    let pid = i64::from(child.id());
    child.wait().expect("wait");
    let record = agent.wait("kernel.process.crash", |record| record.maybe_int("process.pid") == Some(pid));
    assert_eq!(record.text("kernel.signal.name"), "SIGBUS");
    assert!(record.has("process.executable.path"), "the kernel told it, no right was needed: {}", record.show());
    agent.stop();
}

/// The number of a crash in the hook's sequence.
fn crash(agent: &Agent) -> i64 {
    let mut child = Command::new("sh").args(["-c", "kill -BUS $$"]).spawn().expect("sh");
    let pid = i64::from(child.id());
    child.wait().expect("wait");
    let record = agent.wait("kernel.process.crash", |record| record.maybe_int("process.pid") == Some(pid));
    record.int("kernel.hook.sequence")
}

#[test]
fn what_was_denied_is_attached_by_a_reload_that_may() {
    let probes = in_thread(|| {
        limit(CapabilitySet::empty());
        kernel::attach(&generous())
    });
    assert_eq!(probes.attached(), 0);
    let agent = Agent::start_probes(probes);
    agent.reload(&generous());
    crash(&agent);
    agent.stop_and_read();
    let all = states(&agent);
    let (denied, attached) = all.split_at(all.len() / 2);
    for (hook, previous, state) in denied {
        assert_eq!((previous.as_deref(), state.as_str()), (None, "denied"), "{hook}");
    }
    for (hook, previous, state) in attached {
        assert_eq!((previous.as_deref(), state.as_str()), (Some("denied"), "attached"), "{hook}");
    }
}

#[test]
fn a_reload_that_may_not_attach_leaves_what_works() {
    let mut settings = generous();
    settings.packet_drop.event.enabled = false;
    let agent = Agent::start(&settings);
    let before = crash(&agent);
    settings.process_crash.max_per_second = 1_000;
    settings.packet_drop.event.enabled = true;
    let reloaded = Arc::clone(&agent);
    in_thread(move || {
        limit(CapabilitySet::empty());
        reloaded.reload(&settings);
    });
    assert!(crash(&agent) > before, "the hook was replaced");
    agent.stop_and_read();
    let later: Vec<_> = states(&agent).into_iter().filter(|(_, previous, _)| previous.is_some()).collect();
    assert_eq!(later, [("tp_btf/kfree_skb".to_owned(), Some("disabled".to_owned()), "denied".to_owned())]);
}
