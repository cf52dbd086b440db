//! Network namespaces of the tests' own, so that nothing of the machine's traffic is touched or counted.

use std::os::linux::fs::MetadataExt;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::actions::{run, until};
use crate::harness::{Record, now};

/// A thread in a network namespace of its own; what it makes there stays there, wherever it is used.
pub(crate) struct Namespace {
    inode: i64,
    /// The kernel gives an inode again once a namespace is gone.
    since: u64,
    pub(crate) tid: u32,
    work: Option<SyncSender<Box<dyn FnOnce() + Send>>>,
    thread: Option<JoinHandle<()>>,
}

impl Namespace {
    /// A new namespace with its loopback up.
    pub(crate) fn new() -> Self {
        let (work, jobs) = sync_channel::<Box<dyn FnOnce() + Send>>(1);
        let (tell, told) = sync_channel(1);
        let thread = std::thread::spawn(move || {
            tell.send(enter()).expect("the test waits");
            jobs.into_iter().for_each(|job| job());
        });
        let (inode, tid) = told.recv().expect("a namespace");
        Self { inode, since: now(), tid, work: Some(work), thread: Some(thread) }
    }

    /// Whether a record is of this namespace.
    pub(crate) fn has(&self, record: &Record) -> bool {
        record.maybe_int("kernel.netns.inode") == Some(self.inode) && record.time >= self.since
    }

    /// Runs `job` in the namespace and returns what it returns.
    #[track_caller]
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = sync_channel(1);
        let job = Box::new(move || tell.send(job()).expect("the test waits"));
        self.work.as_ref().expect("open until dropped").send(job).expect("the thread lives");
        told.recv().expect("the job failed, see above")
    }

    /// Runs `ip` in the namespace.
    #[track_caller]
    pub(crate) fn ip(&self, arguments: &str) {
        let arguments = arguments.to_owned();
        self.run(move || ip(&arguments));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.work.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "a job panicked");
    }
}

#[track_caller]
pub(crate) fn ip(arguments: &str) {
    run("ip", &arguments.split(' ').collect::<Vec<_>>());
}

/// Moves this thread to a new namespace with its loopback up; its inode and the thread's id.
pub(crate) fn enter() -> (i64, u32) {
    // SAFETY: only the network namespace is unshared; file descriptors and memory stay as they are.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("unshare: the kernel tests need root");
    ip("link set lo up");
    let inode = std::fs::metadata("/proc/thread-self/ns/net").expect("own namespace").st_ino();
    let tid = rustix::thread::gettid().as_raw_nonzero().get();
    (inode.cast_signed(), tid.cast_unsigned())
}

/// Two namespaces with a cable between them: 10.0.0.1 and fd00::1, 10.0.0.2 and fd00::2, on `end0` and `end1`.
pub(crate) fn cable() -> (Namespace, Namespace) {
    let (client, server) = (Namespace::new(), Namespace::new());
    client.ip("link add end0 type veth peer name end1");
    client.ip(&format!("link set end1 netns {}", server.tid));
    for (namespace, number) in [(&client, 1), (&server, 2)] {
        let end = number - 1;
        namespace.ip(&format!("addr add 10.0.0.{number}/24 dev end{end}"));
        namespace.ip(&format!("addr add fd00::{number}/64 dev end{end} nodad"));
        namespace.ip(&format!("link set end{end} up"));
    }
    for (namespace, end) in [(&client, "end0"), (&server, "end1")] {
        // Until the kernel noticed the carrier, packets are dropped at the card.
        until("the link", || {
            namespace.run(move || run("ip", &["link", "show", end])).contains("state UP").then_some(())
        });
    }
    (client, server)
}

/// From now on nothing that is sent to `address` arrives: its neighbour entry is a card that does not exist.
pub(crate) fn lose(namespace: &Namespace, address: &str, device: &str) {
    namespace.ip(&format!("neigh replace {address} lladdr 02:00:00:00:00:99 dev {device} nud permanent"));
}
