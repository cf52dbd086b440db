//! The running receiver as its owner holds it: reload and stop.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::thread::{MembarrierCommand, membarrier};

use super::worker::Worker;
use crate::receivers::Intake;
use crate::receivers::kernel::probes::attach::Probes;
use crate::receivers::kernel::probes::report::HookReport;
use crate::receivers::kernel::probes::standing::{Standing, Step};
use crate::receivers::kernel::settings::Settings;

/// How long a CPU may take to leave a tracepoint, where the kernel cannot be asked to wait for it.
const LEAVE: Duration = Duration::from_millis(100);

/// A running receiver.
#[derive(Debug)]
pub struct Running {
    standing: Standing,
    wake: Arc<OwnedFd>,
    orders: SyncSender<Order>,
    thread: JoinHandle<Stopped>,
}

/// How a receiver ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stopped {
    /// Records that were read but that the log did not take in time.
    pub unstored_records: u64,
}

/// What the thread is told.
pub(crate) enum Order {
    Change(Box<Change>),
    Stop,
}

/// Another configuration.
pub(crate) struct Change {
    pub(crate) settings: Settings,
    pub(crate) intake: Intake,
    pub(crate) step: Step,
    /// Dropped when all is as the change says.
    pub(crate) done: SyncSender<()>,
}

impl Probes {
    /// Starts the thread that drains the rings into `intake`. The hooks' states are its first records.
    ///
    /// # Errors
    /// What the kernel says when it gives no thread or no descriptor.
    pub fn start(self, intake: Intake) -> std::io::Result<Running> {
        let Self { settings, host, standing, first, attribution, symbols } = self;
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        // Whoever gives an order waits for it.
        let (orders, given) = sync_channel(1);
        let mut worker = Worker::new(host, intake, attribution, symbols, Arc::clone(&wake), given);
        let thread = std::thread::Builder::new().name("kernel".to_owned()).spawn(move || {
            worker.begin(settings, first);
            worker.run()
        })?;
        Ok(Running { standing, wake, orders, thread })
    }
}

impl Running {
    /// One report for each kernel event, as [`Probes::reports`].
    #[must_use]
    pub fn reports(&self) -> &[HookReport] {
        self.standing.reports()
    }

    /// Changes to other settings and another intake; returns when both are in force.
    ///
    /// Hooks whose programs have the same settings in them stay attached, with their sequences and counters, and no
    /// event is missed. Of an event whose programs must be loaded anew, the new ones are attached before the old ones
    /// are detached: nothing is missed, at most one record on each CPU comes twice, and sequences begin anew. Where the
    /// kernel refuses the new ones, the old ones stay. A hook whose state changed is told as `collector.probe_state`.
    ///
    /// Attaches on the calling thread, whose rights count, and blocks for it.
    pub fn reload(&mut self, settings: &Settings, intake: Intake) {
        let step = self.standing.change(settings);
        if step.loaded.is_some() {
            leave_tracepoints();
        }
        let (done, finished) = sync_channel(0);
        let change = Change { settings: settings.clone(), intake, step, done };
        self.order(Order::Change(Box::new(change)));
        // An error is what is waited for: the thread drops its end when it is done.
        finished.recv().unwrap_or_default();
    }

    /// Detaches the hooks, empties the rings and waits up to two seconds for the log.
    #[must_use = "says what was not stored"]
    pub fn stop(self) -> Stopped {
        self.order(Order::Stop);
        self.thread.join().unwrap_or_else(|_| {
            tracing::error!("the kernel receiver's thread had panicked");
            Stopped::default()
        })
    }

    fn order(&self, order: Order) {
        if self.orders.send(order).is_err() {
            tracing::error!("the kernel receiver's thread has ended: restart needed");
        }
        // Fails only when the counter is full: then the thread is awake already. Without it, it looks at its next tick.
        rustix::io::write(&self.wake, &1_u64.to_ne_bytes()).unwrap_or_default();
    }
}

/// Returns when no CPU is in a tracepoint that it entered before the call: it would not run what was attached since.
fn leave_tracepoints() {
    // The kernel runs tracepoints under RCU, and this call waits for its readers.
    if membarrier(MembarrierCommand::Global).is_err() {
        std::thread::park_timeout(LEAVE);
    }
}
