//! `kernel.oom.constraint` where the whole machine, or one node of its memory, runs out. Not for a machine that anyone needs:
//! `tests/kernel/vm.sh` runs these in its guests, which have two nodes of memory, and fails when it finds none of them.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use crate::actions::act;
use crate::cgroup::{Cgroup, write};
use crate::harness::{Record, agent, check_common, now};

/// The smaller node of the guest's memory, which has no processor.
const NODE: &str = "1";

/// Runs a command that takes memory until it is killed; the record of that.
#[track_caller]
fn devour(mut command: Command) -> Record {
    let guest = std::env::var("TIDEGATE_GUEST").is_ok();
    assert!(guest, "this takes the memory of the whole machine: tests/kernel/vm.sh runs it in a guest");
    let agent = agent();
    let began = now();
    let mut victim = command.spawn().expect("this binary");
    assert_eq!(victim.wait().expect("wait").signal(), Some(9));
    let ended = now();
    let pid = i64::from(victim.id());
    let record = agent.wait("kernel.oom.kill", |record| record.maybe_int("process.pid") == Some(pid));
    println!("{}", record.show());
    check_common(&record, 17, "tp_btf/mark_victim", began, ended);
    assert_eq!(record.int("kernel.oom.score_adj"), 1000);
    assert!(record.int("kernel.oom.rss.anon") > 64 << 20);
    for absent in ["kernel.oom.cgroup.path", "kernel.oom.cgroup.limit", "kernel.oom.cgroup.usage"] {
        assert!(!record.has(absent), "no limit of a cgroup was hit: {}", record.show());
    }
    // Of the whole machine: this process is among them.
    let own = format!("{} ", std::process::id());
    assert!(record.list("kernel.oom.top_tasks").iter().any(|task| task.starts_with(&own)), "{}", record.show());
    record
}

#[test]
#[ignore = "takes all memory of the machine: only in the guests of tests/kernel/vm.sh"]
fn a_machine_without_memory_is_under_no_constraint() {
    let record = devour(act("devour"));
    assert_eq!(record.text("kernel.oom.constraint"), "none");
    let available = record.int("kernel.oom.host.memory.available");
    assert!(available >= 0 && available < record.int("kernel.oom.host.memory.total"), "{available}");
}

#[test]
#[ignore = "takes a node's memory: only in the guests of tests/kernel/vm.sh"]
fn a_cpuset_whose_node_has_no_memory_is_the_constraint() {
    let root = Cgroup::root_unified();
    write(&root.join("cgroup.subtree_control"), "+cpuset");
    let cgroup = Cgroup::make_unified("/near");
    write(&root.join("near/cpuset.mems"), NODE);
    let mut command = act("devour");
    command.env("TIDEGATE_CGROUP", cgroup.procs());
    let record = devour(command);
    assert_eq!(record.text("kernel.oom.constraint"), "cpuset");
    assert_eq!(record.text("kernel.cgroup.path"), "/near");
}

#[test]
#[ignore = "takes a node's memory: only in the guests of tests/kernel/vm.sh"]
fn a_policy_for_a_node_that_has_no_memory_is_the_constraint() {
    let action = act("devour");
    let mut command = Command::new("numactl");
    command.arg(format!("--membind={NODE}")).arg(action.get_program()).args(action.get_args());
    command.envs(action.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let record = devour(command);
    assert_eq!(record.text("kernel.oom.constraint"), "memory_policy");
}
