//! `kernel.oom.kill`.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};

use crate::actions::act;
use crate::cgroup::{Cgroup, Memory, container_id};
use crate::harness::{agent, check_common, now};

const LIMIT: u64 = 48 << 20;
const HELD: u64 = 24 << 20;

/// A process in `cgroup` that takes `bytes` of memory and then waits.
pub(crate) fn eater(cgroup: &Cgroup, bytes: u64, score: i32) -> Child {
    let mut command = act("eat");
    command.env("TIDEGATE_CGROUP", cgroup.procs()).env("TIDEGATE_BYTES", bytes.to_string());
    command.env("TIDEGATE_SCORE", score.to_string()).stdout(Stdio::piped()).spawn().expect("this binary")
}

fn wait_for_line(child: &mut Child) {
    use std::io::{BufRead, BufReader};
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut lines = lines.map_while(Result::ok);
    assert!(lines.any(|line| line.contains("eaten")), "the process ended before it had its memory");
}

/// The one that runs out is not the one that dies: the record is about the victim.
#[test]
fn the_victim_of_a_cgroup_limit_is_named_with_its_container_and_memory() {
    let agent = agent();
    let memory = Memory::find();
    let id = container_id(1);
    let limited = Cgroup::make(&memory, &format!("/docker/{id}"));
    let victims = Cgroup::make(&memory, &format!("/docker/{id}/victim"));
    let triggers = Cgroup::make(&memory, &format!("/docker/{id}/trigger"));
    limited.limit(&memory, LIMIT);

    // The smallest, so that it lives on also when the trigger is the next to go.
    let mut bystander = eater(&triggers, 1 << 20, 0);
    wait_for_line(&mut bystander);
    let began = now();
    let mut victim = eater(&victims, HELD, 500);
    wait_for_line(&mut victim);
    let mut trigger = eater(&triggers, LIMIT - (16 << 20), 0);
    assert_eq!(victim.wait().expect("wait").signal(), Some(9));
    let ended = now();
    let pid = i64::from(victim.id());
    let record = agent.wait("kernel.oom.kill", |record| record.maybe_int("process.pid") == Some(pid));
    for child in [&mut trigger, &mut bystander] {
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
    println!("{}", record.show());
    check_common(&record, 17, "tp_btf/mark_victim", began, ended);
    assert_eq!(record.text("kernel.oom.constraint"), "memcg");
    assert_eq!(record.int("kernel.oom.score_adj"), 500);
    assert_eq!(record.text("kernel.cgroup.path"), victims.path);
    assert_eq!(record.int("kernel.cgroup.id"), victims.id());
    assert_eq!(record.text("container.id"), id);
    assert_eq!(record.text("kernel.oom.cgroup.path"), limited.path);
    assert_eq!(record.int("kernel.oom.cgroup.limit"), i64::try_from(LIMIT).expect("fits"));
    let usage = record.int("kernel.oom.cgroup.usage");
    assert!((LIMIT - (2 << 20)..=LIMIT).contains(&usage.cast_unsigned()), "{usage}");
    let anon = record.int("kernel.oom.rss.anon").cast_unsigned();
    // The kernel counts resident pages in batches on each CPU.
    assert!(anon > HELD - (4 << 20) && anon < LIMIT, "{anon}");
    assert!(record.int("kernel.oom.vm.total").cast_unsigned() > anon);
    assert!(record.int("kernel.oom.page_tables") > 0);
    assert!(record.int("kernel.oom.rss.file") >= 0 && record.int("kernel.oom.rss.shmem") >= 0);
    assert_eq!(record.int("kernel.oom.trigger.pid"), i64::from(trigger.id()));
    assert_eq!(record.text("kernel.oom.trigger.cgroup.path"), triggers.path);
    assert_eq!(record.text("kernel.oom.trigger.container.id"), id);
    assert!(!record.text("kernel.oom.trigger.comm").is_empty());
    assert!(record.int("kernel.oom.host.memory.total") > record.int("kernel.oom.host.memory.available"));
    let tasks = record.list("kernel.oom.top_tasks");
    let name = format!("{} ", bystander.id());
    assert!(tasks.iter().any(|task| task.starts_with(&name)), "{} is not in {tasks:?}", bystander.id());
    let exe = std::env::current_exe().expect("this binary");
    assert_eq!(record.text("process.executable.path"), exe.to_str().expect("UTF-8"));
    assert_eq!(record.int("process.parent_pid"), i64::from(std::process::id()));
}

/// A container's cgroup is often gone before anyone reads the record.
#[test]
fn a_container_that_lived_for_a_moment_only_is_still_named() {
    let agent = agent();
    let memory = Memory::find();
    let id = container_id(2);
    let cgroup = Cgroup::make(&memory, &format!("/system.slice/docker-{id}.scope"));
    cgroup.limit(&memory, 16 << 20);
    let mut victim = eater(&cgroup, 64 << 20, 0);
    assert_eq!(victim.wait().expect("wait").signal(), Some(9));
    drop(cgroup);

    let pid = i64::from(victim.id());
    let record = agent.wait("kernel.oom.kill", |record| record.maybe_int("process.pid") == Some(pid));
    assert_eq!(record.text("container.id"), id);
    assert_eq!(record.text("container.runtime.name"), "docker");
    assert_eq!(record.text("systemd.unit"), format!("docker-{id}.scope"));
    assert_eq!(record.text("systemd.slice"), "system.slice");
    assert_eq!(record.int("kernel.oom.trigger.pid"), pid);
    assert_eq!(record.text("kernel.oom.constraint"), "memcg");
}
