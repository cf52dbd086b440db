//! The names that Kubernetes has for a container. The kernel knows only ids; the container runtime wrote the names into a
//! file of its own when it made the container. Such files are a convention of each runtime, not an interface: where there
//! is none, or it says something else, the names are unknown and nothing else changes.
//!
//! The file goes with the container, so it is read when the container is first met.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use serde_json::Value;

use crate::receivers::kernel::events::event::Attributes;

/// Containers that are remembered; the oldest are forgotten first.
const REMEMBERED: usize = 4096;
/// A larger file is not read. They are some 10 KiB.
const FILE_MAX: u64 = 1 << 20;
/// The longest name that Kubernetes allows.
const NAME_MAX: usize = 253;
/// The container that holds a pod's namespaces together, in the words of the kubelet: no container of the pod's own.
const SANDBOX: &str = "POD";

/// Where runtimes keep their files: the machine's own root, which in a container is that of the first process of the
/// host's, if it may be looked at.
const ROOTS: [&str; 2] = ["/", "/proc/1/root"];

/// A runtime's file about a container, and where in it the names are.
struct Layout {
    /// Below the root; the container's id is the next part of the path.
    directory: &'static str,
    file: &'static str,
    /// The way to the object that has the names.
    object: &'static [&'static str],
    /// Of the pod, its namespace and the container.
    keys: [&'static str; 3],
}

const CRI: [&str; 3] =
    ["io.kubernetes.cri.sandbox-name", "io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri.container-name"];
const KUBELET: [&str; 3] = ["io.kubernetes.pod.name", "io.kubernetes.pod.namespace", "io.kubernetes.container.name"];

const LAYOUTS: [Layout; 5] = [
    // containerd: the bundle that it gives to runc.
    Layout {
        directory: "run/containerd/io.containerd.runtime.v2.task/k8s.io",
        file: "config.json",
        object: &["annotations"],
        keys: CRI,
    },
    // The same, as k3s and RKE2 have it.
    Layout {
        directory: "run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io",
        file: "config.json",
        object: &["annotations"],
        keys: CRI,
    },
    // CRI-O writes its bundle twice: where it runs and where it lasts.
    Layout {
        directory: "run/containers/storage/overlay-containers",
        file: "userdata/config.json",
        object: &["annotations"],
        keys: KUBELET,
    },
    Layout {
        directory: "var/lib/containers/storage/overlay-containers",
        file: "userdata/config.json",
        object: &["annotations"],
        keys: KUBELET,
    },
    // Docker, by cri-dockerd.
    Layout {
        directory: "var/lib/docker/containers",
        file: "config.v2.json",
        object: &["Config", "Labels"],
        keys: KUBELET,
    },
];

/// What Kubernetes calls a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pod: Option<String>,
    namespace: Option<String>,
    container: Option<String>,
}

impl Names {
    /// Adds what is known.
    pub(crate) fn add_to(&self, attributes: &mut Attributes) {
        attributes.text("k8s.pod.name", self.pod.clone());
        attributes.text("k8s.namespace.name", self.namespace.clone());
        attributes.text("k8s.container.name", self.container.clone());
    }
}

/// What is remembered of a container.
#[derive(Debug)]
struct Met {
    names: Option<Names>,
    /// Nothing is read any more: there are names, or an event has come for which there were none.
    settled: bool,
}

/// The names of the containers that were met.
#[derive(Debug)]
pub(crate) struct Pods {
    roots: Vec<PathBuf>,
    met: HashMap<String, Met>,
    order: VecDeque<String>,
}

impl Default for Pods {
    fn default() -> Self {
        Self::below(ROOTS.map(PathBuf::from).to_vec())
    }
}

impl Pods {
    fn below(roots: Vec<PathBuf>) -> Self {
        Self { roots, met: HashMap::new(), order: VecDeque::new() }
    }

    /// A container's cgroup is there. The runtime has written its file by then, as far as known.
    pub(crate) fn born(&mut self, id: &str) {
        if !self.met.contains_key(id) {
            self.read(id, false);
        }
    }

    /// An event is about a container. One that had no file when it was born is looked for once more.
    pub(crate) fn seen(&mut self, id: &str) {
        if self.met.get(id).is_none_or(|met| !met.settled) {
            self.read(id, true);
        }
    }

    /// What is remembered of a container.
    pub(crate) fn names(&self, id: &str) -> Option<&Names> {
        self.met.get(id)?.names.as_ref()
    }

    fn read(&mut self, id: &str, at_event: bool) {
        let names = self.roots.iter().find_map(|root| read_names(root, id));
        let settled = at_event || names.is_some();
        if self.met.insert(id.to_owned(), Met { names, settled }).is_some() {
            return;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.met.remove(&oldest);
        }
    }
}

/// The names in the first of the runtimes' files about a container.
fn read_names(root: &Path, id: &str) -> Option<Names> {
    LAYOUTS.iter().find_map(|layout| {
        let path = root.join(layout.directory).join(id).join(layout.file);
        parse_names(&read_file(&path)?, layout)
    })
}

/// A whole regular file. What else may stand there is not waited for: a pipe, for instance, opens at once and is left.
fn read_file(path: &Path) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty()).ok()?);
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > FILE_MAX {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// None where nothing in the file is a name.
fn parse_names(json: &[u8], layout: &Layout) -> Option<Names> {
    let parsed: Value = serde_json::from_slice(json).ok()?;
    let object = layout.object.iter().try_fold(&parsed, |value, key| value.get(key))?;
    let [pod, namespace, container] = layout.keys.map(|key| name(object.get(key)?.as_str()?));
    let container = container.filter(|name| name != SANDBOX);
    let names = Names { pod, namespace, container };
    (names != Names::default()).then_some(names)
}

/// Names of Kubernetes are lower-case letters, digits, dashes and dots; the sandbox's is the exception.
fn name(text: &str) -> Option<String> {
    let fits = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    let is_name = (1..=NAME_MAX).contains(&text.len()) && (text == SANDBOX || text.bytes().all(fits));
    is_name.then(|| text.to_owned())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "stands in for container runtimes in a temporary folder")]
mod tests {
    use super::*;

    const ID: &str = "3f4a1c9b7e2d5f60718293a4b5c6d7e8f90123456789abcdef0123456789abcd";

    const CONTAINERD: &str = r#"{"ociVersion":"1.1.0","process":{"args":["/shop"]},"annotations":{
        "io.kubernetes.cri.container-name":"shop","io.kubernetes.cri.container-type":"container",
        "io.kubernetes.cri.sandbox-id":"446c65ab43d4","io.kubernetes.cri.sandbox-name":"shop-64df67bd8b-xmzhv",
        "io.kubernetes.cri.sandbox-namespace":"default"}}"#;
    const CRIO: &str = r#"{"annotations":{"io.kubernetes.cri-o.ContainerType":"container",
        "io.kubernetes.container.name":"shop","io.kubernetes.pod.name":"shop-64df67bd8b-xmzhv",
        "io.kubernetes.pod.namespace":"default","io.kubernetes.pod.uid":"aaaa2b4a-f398-41c0-928b-049e1cc4ec40"}}"#;
    const DOCKER: &str = r#"{"State":{"Running":true},"Config":{"Labels":{
        "io.kubernetes.container.name":"shop","io.kubernetes.pod.name":"shop-64df67bd8b-xmzhv",
        "io.kubernetes.pod.namespace":"default"}}}"#;

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn shop() -> Names {
        Names { pod: text("shop-64df67bd8b-xmzhv"), namespace: text("default"), container: text("shop") }
    }

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, layout: usize) -> PathBuf {
            let layout = &LAYOUTS[layout];
            self.0.path().join(layout.directory).join(ID).join(layout.file)
        }

        fn write(&self, layout: usize, content: &[u8]) {
            let path = self.path(layout);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }

        fn pods(&self) -> Pods {
            Pods::below(vec![self.0.path().join("none"), self.0.path().to_owned()])
        }

        fn names(&self) -> Option<Names> {
            let mut pods = self.pods();
            pods.seen(ID);
            pods.names(ID).cloned()
        }
    }

    #[test]
    fn each_runtimes_file_gives_the_names() {
        for (layout, content) in [CONTAINERD, CONTAINERD, CRIO, CRIO, DOCKER].into_iter().enumerate() {
            let machine = Machine::new();
            machine.write(layout, content.as_bytes());
            assert_eq!(machine.names(), Some(shop()), "{}", LAYOUTS[layout].directory);
        }
    }

    /// In containerd's words the sandbox has no container name, in the kubelet's it has one that is none.
    #[test]
    fn a_pods_sandbox_has_no_container_name() {
        let containerd = CONTAINERD.replace("io.kubernetes.cri.container-name", "other");
        let docker = DOCKER.replace(r#"container.name":"shop""#, r#"container.name":"POD""#);
        for (layout, content) in [(0, containerd), (4, docker)] {
            let machine = Machine::new();
            machine.write(layout, content.as_bytes());
            assert_eq!(machine.names(), Some(Names { container: None, ..shop() }));
        }
    }

    #[test]
    fn a_container_outside_of_kubernetes_has_no_names() {
        let machine = Machine::new();
        machine.write(4, br#"{"Config":{"Labels":{"maintainer":"someone"}}}"#);
        assert_eq!(machine.names(), None);
    }

    #[test]
    fn a_container_that_is_gone_keeps_its_names() {
        let machine = Machine::new();
        machine.write(0, CONTAINERD.as_bytes());
        let mut pods = machine.pods();
        pods.born(ID);
        std::fs::remove_file(machine.path(0)).unwrap();
        pods.seen(ID);
        assert_eq!(pods.names(ID), Some(&shop()));
    }

    #[test]
    fn a_file_that_came_after_the_cgroup_is_found_at_the_first_event() {
        let machine = Machine::new();
        let mut pods = machine.pods();
        pods.born(ID);
        machine.write(0, CONTAINERD.as_bytes());
        pods.born(ID);
        assert_eq!(pods.names(ID), None, "a birth is told once for each hierarchy: it is not read for each");
        pods.seen(ID);
        assert_eq!(pods.names(ID), Some(&shop()));
    }

    #[test]
    fn where_no_runtime_is_the_disk_is_not_asked_at_every_event() {
        let machine = Machine::new();
        let mut pods = machine.pods();
        pods.seen(ID);
        machine.write(0, CONTAINERD.as_bytes());
        pods.seen(ID);
        assert_eq!(pods.names(ID), None);
    }

    #[test]
    fn hostile_files_are_no_names() {
        let deep = "[".repeat(1 << 19);
        let large = CONTAINERD.replace("/shop", &"x".repeat(1 << 20));
        let long = CONTAINERD.replace("default", &"x".repeat(NAME_MAX + 1));
        let lines = CONTAINERD.replace("default", "a\\nb");
        let numbers = CONTAINERD.replace(r#""default""#, "7");
        for content in ["", "null", "[]", "{\"annotations\":3}", "\u{1}", &deep, &large] {
            let machine = Machine::new();
            machine.write(0, content.as_bytes());
            assert_eq!(machine.names(), None, "{:.40}", content);
        }
        for content in [long, lines, numbers] {
            let machine = Machine::new();
            machine.write(0, content.as_bytes());
            assert_eq!(machine.names(), Some(Names { namespace: None, ..shop() }), "{content:.400}");
        }
    }

    #[test]
    fn what_is_no_regular_file_is_neither_followed_nor_waited_for() {
        let machine = Machine::new();
        machine.write(1, CONTAINERD.as_bytes());
        let link = machine.path(0);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(machine.path(1), &link).unwrap();
        std::fs::remove_file(machine.path(1)).unwrap();
        assert_eq!(machine.names(), None);
        std::fs::remove_file(&link).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &link, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(machine.names(), None);
    }

    #[test]
    fn the_oldest_containers_are_forgotten() {
        let machine = Machine::new();
        machine.write(0, CONTAINERD.as_bytes());
        let mut pods = machine.pods();
        pods.born(ID);
        for number in 0..REMEMBERED {
            pods.born(&format!("{number:064x}"));
        }
        assert_eq!((pods.names(ID), pods.met.len()), (None, REMEMBERED));
    }
}
