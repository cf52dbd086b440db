//! Makes the kernel events happen for real, each recognisable by a pid, a port or a cgroup of its own. Needs root.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::wait_for;

const OOM_LIMIT: Duration = Duration::from_secs(20);
const OOM_MEMORY: &str = "33554432";
const SIGKILL: i32 = 9;
const SIGSEGV: i32 = 11;

/// Runs a program; its output is shown when it fails.
pub(crate) fn command(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{said}", output.status);
}

/// A process that ends by the default action of SIGSEGV; its pid.
pub(crate) fn crash() -> u32 {
    let mut child = Command::new("bash").args(["-c", "ulimit -c 0; kill -SEGV $$"]).spawn().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(SIGSEGV), "the process did not crash: {status}");
    child.id()
}

/// A memory cgroup of 32 MiB with a path like a container's.
pub(crate) struct Container {
    /// The 64 hexadecimal digits in its path.
    pub(crate) id: String,
    folder: PathBuf,
}

impl Container {
    #[allow(clippy::disallowed_methods, reason = "writes cgroup settings")]
    pub(crate) fn new(number: u32) -> Self {
        let id = format!("{:032x}{number:032x}", std::process::id());
        let (root, limit) = match Path::new("/sys/fs/cgroup/memory").is_dir() {
            true => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            false => ("/sys/fs/cgroup", "memory.max"),
        };
        let folder = Path::new(root).join(format!("docker-{id}.scope"));
        fs::create_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        fs::write(folder.join(limit), OOM_MEMORY).unwrap();
        // Where there is swap, it must not save the victim.
        if folder.join("memory.swap.max").exists() {
            fs::write(folder.join("memory.swap.max"), "0").unwrap();
        }
        Self { id, folder }
    }

    /// A process that the kernel kills for its memory; its pid.
    pub(crate) fn oom(&self) -> u32 {
        let enter = format!("echo $$ > {}/cgroup.procs && exec tail /dev/zero", self.folder.display());
        let mut child = Command::new("bash").args(["-c", &enter]).stdout(Stdio::null()).spawn().unwrap();
        let status = wait_for(OOM_LIMIT, || child.try_wait().unwrap());
        if status.is_none() {
            child.kill().unwrap();
        }
        let status = status.expect("the process was not killed for its memory");
        assert_eq!(status.signal(), Some(SIGKILL), "the process ended otherwise: {status}");
        child.id()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The kernel frees the cgroup's last process a moment after its parent heard of its end.
        let gone = wait_for(OOM_LIMIT, || fs::remove_dir(&self.folder).ok());
        if gone.is_none() {
            eprintln!("{} is left behind", self.folder.display());
        }
    }
}

/// A network namespace with an interface whose neighbours do not answer.
pub(crate) struct Network {
    name: String,
}

impl Network {
    /// The address that nobody has.
    pub(crate) const SILENT: &str = "198.51.100.2";

    pub(crate) fn new() -> Self {
        let network = Self { name: format!("tidegate-{}", std::process::id()) };
        let name = network.name.as_str();
        command("ip", &["netns", "add", name]);
        command("ip", &["-n", name, "link", "add", "near", "type", "veth", "peer", "name", "far"]);
        command("ip", &["-n", name, "addr", "add", "198.51.100.1/24", "dev", "near"]);
        for link in ["lo", "near", "far"] {
            command("ip", &["-n", name, "link", "set", link, "up"]);
        }
        let nobody = ["lladdr", "02:00:00:00:00:99", "dev", "near", "nud", "permanent"];
        command("ip", &[&["-n", name, "neigh", "replace", Self::SILENT], &nobody[..]].concat());
        network
    }

    /// Connects to a port of the silent address for three seconds: the SYN is sent again after one.
    pub(crate) fn retransmit(&self, port: u16) {
        let connect = format!("exec 3<>/dev/tcp/{}/{port}", Self::SILENT);
        let mut child = self.bash(&["timeout", "3", "bash", "-c", &connect]);
        let status = child.wait().unwrap();
        assert!(!status.success(), "somebody answered");
    }

    /// Sends a datagram to a port of the namespace that nobody has open.
    pub(crate) fn drop_datagram(&self, port: u16) {
        let send = format!("echo dropped > /dev/udp/127.0.0.1/{port}");
        let status = self.bash(&["bash", "-c", &send]).wait().unwrap();
        assert!(status.success(), "the datagram was not sent: {status}");
    }

    fn bash(&self, words: &[&str]) -> std::process::Child {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).args(words).stderr(Stdio::null());
        command.spawn().unwrap()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let deleted = Command::new("ip").args(["netns", "del", &self.name]).status();
        if !deleted.is_ok_and(|status| status.success()) {
            eprintln!("network namespace {} is left behind", self.name);
        }
    }
}

/// A task that stays blocked for longer than the kernel's own limit for hung tasks, which is set to 2 s meanwhile.
pub(crate) struct HungTask;

impl HungTask {
    const TIMEOUT: &str = "/proc/sys/kernel/hung_task_timeout_secs";

    /// A loop device with a frozen ext4 holds a `touch` until `seen` says so of its pid; that pid.
    #[allow(clippy::disallowed_methods, reason = "writes a kernel setting and an image file")]
    pub(crate) fn block(home: &Path, limit: Duration, seen: impl Fn(u32) -> Option<()>) -> u32 {
        let before = fs::read_to_string(Self::TIMEOUT).unwrap();
        let image = home.join("frozen.img");
        let mount = home.join("frozen");
        fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
        fs::create_dir_all(&mount).unwrap();
        let (image, folder) = (image.to_str().unwrap(), mount.to_str().unwrap());
        command("mkfs.ext4", &["-q", "-F", image]);
        command("mount", &["-o", "loop", image, folder]);
        command("fsfreeze", &["--freeze", folder]);
        fs::write(Self::TIMEOUT, "2").unwrap();
        let mut child = Command::new("touch").arg(mount.join("file")).spawn().unwrap();
        let seen = wait_for(limit, || seen(child.id()));
        fs::write(Self::TIMEOUT, before.trim()).unwrap();
        command("fsfreeze", &["--unfreeze", folder]);
        child.wait().unwrap();
        command("umount", &[folder]);
        assert!(seen.is_some(), "no record of the blocked task within {limit:?}");
        child.id()
    }
}
