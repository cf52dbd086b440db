//! What attaches here.

use tidegate::receivers::kernel::State;

use crate::harness::{Agent, agent, generous};

/// The kernels of this suite have everything: no event may have fallen back unnoticed.
#[test]
fn every_hook_attaches() {
    let agent = agent();
    for report in &agent.reports {
        assert_eq!(report.state, State::Attached, "{report}");
    }
    assert_eq!(agent.reports.len(), 5);
}

#[test]
fn the_state_of_each_hook_is_a_record() {
    let agent = agent();
    for (event, hook) in [
        ("kernel.oom.kill", "tp_btf/mark_victim"),
        ("kernel.process.crash", "tp_btf/signal_deliver"),
        ("kernel.net.tcp_retransmit", "tp_btf/tcp_retransmit_skb"),
        ("kernel.net.tcp_retransmit", "tp_btf/tcp_retransmit_synack"),
        ("kernel.net.packet_drop", "tp_btf/kfree_skb"),
        ("kernel.task.hung", "tp_btf/sched_process_hang"),
    ] {
        let record = agent.wait("collector.probe_state", |record| {
            record.has("kernel.hook.name") && record.text("kernel.hook.name") == hook
        });
        assert_eq!(record.scope, "tidegate.agent");
        assert_eq!(record.severity, 9);
        assert_eq!(record.text("kernel.event.name"), event);
        assert_eq!(record.text("collector.probe.state"), "attached");
        assert!(!record.has("error.type") && !record.has("collector.probe.errno"));
    }
}

#[test]
fn an_event_that_is_turned_off_is_told_so() {
    let mut settings = generous();
    settings.oom_kill.enabled = false;
    let agent = Agent::start(&settings);
    let record = agent.wait("collector.probe_state", |record| {
        record.has("kernel.event.name") && record.text("kernel.event.name") == "kernel.oom.kill"
    });
    assert_eq!((record.severity, record.text("collector.probe.state")), (13, "disabled"));
    assert!(!record.has("error.type") && !record.has("collector.probe.previous_state"), "{}", record.show());
    agent.stop();
}
