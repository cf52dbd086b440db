//! The names of Kubernetes: a cgroup and a file as kubelet and containerd make them, and a real out-of-memory kill in it.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate::receivers::kernel;

use crate::cgroup::{Cgroup, Memory, container_id};
use crate::harness::{Agent, Record, agent, generous};
use crate::oom::eater;

const BUNDLES: &str = "/run/containerd/io.containerd.runtime.v2.task/k8s.io";

/// A container of a pod, as far as the machine shows it.
struct Container {
    id: String,
    pod_uid: String,
    bundle: Bundle,
    cgroup: Cgroup,
    _pod: Cgroup,
}

impl Container {
    fn new(word: u32) -> Self {
        let memory = Memory::find();
        let id = container_id(word);
        let pod_uid = format!("0b1f5a2e-8f3c-4f0a-{word:04x}-{:012x}", std::process::id());
        let bundle = Bundle::new(&id, &pod_uid);
        let slice = format!("/kubepods-burstable-pod{}.slice", pod_uid.replace('-', "_"));
        let pod = Cgroup::make(&memory, &slice);
        let cgroup = Cgroup::make(&memory, &format!("{slice}/cri-containerd-{id}.scope"));
        cgroup.limit(&memory, 16 << 20);
        Self { id, pod_uid, bundle, cgroup, _pod: pod }
    }

    /// Runs a process in it until it is killed; its pid.
    fn run_out_of_memory(&self) -> i64 {
        let mut victim = eater(&self.cgroup, 64 << 20, 0);
        assert_eq!(victim.wait().expect("wait").signal(), Some(9));
        i64::from(victim.id())
    }

    #[track_caller]
    fn check(&self, record: &Record) {
        println!("{}", record.show());
        assert_eq!(record.text("k8s.pod.name"), "shop-64df67bd8b-xmzhv");
        assert_eq!(record.text("k8s.namespace.name"), "default");
        assert_eq!(record.text("k8s.container.name"), "shop");
        assert_eq!(record.text("k8s.pod.uid"), self.pod_uid);
        assert_eq!(record.text("container.id"), self.id);
        assert_eq!(record.text("container.runtime.name"), "containerd");
    }
}

/// containerd's bundle of a container. What had to be made for it is removed at the end.
struct Bundle {
    directory: PathBuf,
    made: Vec<PathBuf>,
    /// None makes directories while another removes them.
    _alone: MutexGuard<'static, ()>,
}

impl Bundle {
    fn new(id: &str, pod_uid: &str) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = Path::new(BUNDLES).join(id);
        let made = directory.ancestors().take_while(|above| !above.exists()).map(Path::to_owned).collect();
        std::fs::create_dir_all(&directory).expect("a bundle");
        let annotations = serde_json::json!({
            "io.kubernetes.cri.container-name": "shop",
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.sandbox-name": "shop-64df67bd8b-xmzhv",
            "io.kubernetes.cri.sandbox-namespace": "default",
            "io.kubernetes.cri.sandbox-uid": pod_uid,
        });
        let spec = serde_json::json!({ "ociVersion": "1.1.0", "annotations": annotations });
        std::fs::write(directory.join("config.json"), spec.to_string()).expect("a spec");
        Self { directory, made, _alone: alone }
    }

    fn forget(&self) {
        std::fs::remove_file(self.directory.join("config.json")).expect("the spec was there");
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        // Gone already where the test is about that.
        let _gone = std::fs::remove_file(self.directory.join("config.json"));
        for directory in &self.made {
            std::fs::remove_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        }
    }
}

#[test]
fn a_container_of_a_pod_has_the_names_that_kubernetes_gave_it() {
    let agent = agent();
    let container = Container::new(11);
    let pid = container.run_out_of_memory();
    let record = agent.wait("kernel.oom.kill", |record| record.maybe_int("process.pid") == Some(pid));
    container.check(&record);
    assert_eq!(record.text("kernel.oom.trigger.container.id"), container.id);
}

/// A container that ran before the agent did is met at its start.
#[test]
fn a_container_whose_files_are_gone_when_its_event_is_read_is_still_named() {
    let container = Container::new(12);
    let probes = kernel::attach(&generous());
    container.bundle.forget();
    let pid = container.run_out_of_memory();
    let agent = Agent::start_probes(probes);
    let record = agent.wait("kernel.oom.kill", |record| record.maybe_int("process.pid") == Some(pid));
    container.check(&record);
    agent.stop();
}
