//! The thread between the rings and the log.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::episodes::Episodes;
use super::loss::{Cause, Losses};
use super::outbox::{Outbox, Request};
use super::run::{Change, Order, Stopped};
use super::source::Source;
use super::turn::{Names, Turn};
use crate::receivers::Intake;
use crate::receivers::kernel::attribution::Attribution;
use crate::receivers::kernel::decode::symbols::Symbols;
use crate::receivers::kernel::events::catalogue::Kind;
use crate::receivers::kernel::events::clock::{self, WallOffset};
use crate::receivers::kernel::events::collector::Reporter;
use crate::receivers::kernel::events::encode::Encoder;
use crate::receivers::kernel::events::event::Event;
use crate::receivers::kernel::events::host::Host;
use crate::receivers::kernel::probes::hooks::Hook;
use crate::receivers::kernel::probes::object::Loaded;
use crate::receivers::kernel::probes::reasons::Reasons;
use crate::receivers::kernel::probes::standing::Step;
use crate::receivers::kernel::settings::Settings;

/// The rings are looked at this often even without a wake-up: one can be missed on some machines.
const TICK: Duration = Duration::from_millis(250);
/// How often losses are told.
const TELL: Duration = Duration::from_secs(10);
/// How long a stop waits for the log.
const STOP: Duration = Duration::from_secs(2);

pub(crate) struct Worker {
    settings: Settings,
    host: Host,
    wake: Arc<OwnedFd>,
    orders: Receiver<Order>,
    sources: Vec<Source>,
    names: Names,
    encoder: Encoder,
    outbox: Outbox,
    losses: Losses,
    reporter: Reporter,
    events: Vec<Event>,
    stopping: bool,
}

impl Worker {
    pub(crate) fn new(
        host: Host,
        intake: Intake,
        attribution: Attribution,
        symbols: Symbols,
        wake: Arc<OwnedFd>,
        orders: Receiver<Order>,
    ) -> Self {
        let (reasons, episodes) = (Reasons::default(), Episodes::default());
        Self {
            settings: Settings::default(),
            wake,
            orders,
            sources: Vec::new(),
            names: Names { attribution, reasons, symbols, episodes, walked: Instant::now() },
            encoder: Encoder::new(host.resource(), false),
            outbox: Outbox::new(intake),
            losses: Losses::default(),
            reporter: Reporter::new(&host.boot_id),
            host,
            events: Vec::new(),
            stopping: false,
        }
    }

    /// The first settings, and what was attached for them.
    pub(crate) fn begin(&mut self, settings: Settings, mut step: Step) {
        let source = step.loaded.take().map(Source::new);
        self.adopt(settings, step, source);
    }

    fn adopt(&mut self, settings: Settings, step: Step, source: Option<Source>) {
        self.encoder = Encoder::new(self.host.resource(), settings.event_name_attribute);
        self.settings = settings;
        if let Some(source) = source {
            self.names.reasons = step.reasons;
            self.sources.push(source);
        }
        let states = step.states.iter().map(|(report, previous)| self.reporter.probe_state(report, *previous));
        self.events.extend(states);
    }

    pub(crate) fn run(mut self) -> Stopped {
        let mut told = Instant::now();
        let mut more = true;
        loop {
            if !more {
                self.wait();
            }
            self.obey();
            more = self.drain();
            if self.stopping || told.elapsed() >= TELL {
                told = Instant::now();
                self.tell_losses();
            }
            self.send();
            if self.stopping && !more {
                return self.finish();
            }
        }
    }

    /// Waits for a record, a tick or an order.
    fn wait(&self) {
        let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
        for source in &self.sources {
            let rings = &source.loaded.rings;
            let rings = [&rings.urgent, &rings.bulk, &rings.cgroups];
            fds.extend(rings.into_iter().map(|ring| PollFd::from_borrowed_fd(ring.as_fd(), PollFlags::IN)));
        }
        let tick = Timespec { tv_sec: 0, tv_nsec: i64::from(TICK.subsec_nanos()) };
        if let Err(error) = poll(&mut fds, Some(&tick)) {
            // Only EINTR is expected; the rings are looked at either way.
            tracing::debug!(%error, "poll");
        }
    }

    fn obey(&mut self) {
        // Set to zero, so that the next wait is one. Fails when nothing was ordered.
        rustix::io::read(&self.wake, &mut [0; 8]).unwrap_or_default();
        loop {
            match self.orders.try_recv() {
                Ok(Order::Change(change)) => self.change(*change),
                // Nobody is left to stop it.
                Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return self.detach_all(),
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    fn change(&mut self, change: Change) {
        let Change { settings, intake, mut step, done } = change;
        let wall = WallOffset::measure();
        for source in &mut self.sources {
            source.release(&step.released, &mut self.losses, wall);
        }
        let source = step.loaded.take().map(|loaded| self.replace(loaded, wall));
        self.outbox.redirect(intake);
        self.adopt(settings, step, source);
        drop(done);
    }

    /// The source that takes over all the hooks that it has.
    fn replace(&mut self, loaded: Loaded, wall: WallOffset) -> Source {
        let follows_cgroups = loaded.has(Hook::CgroupMkdir);
        if follows_cgroups && !self.sources.iter().any(|source| source.loaded.has(Hook::CgroupMkdir)) {
            // Births and deaths were not followed until now.
            self.names.attribution = Attribution::walk();
        }
        let mut new = Source::new(loaded);
        // Now: everything that was read so far is of the old programs, and both write each event.
        let cut = clock::boot_nanos();
        for old in &mut self.sources {
            new.replace(old, cut, &mut self.losses, wall);
        }
        new
    }

    /// A storm would keep the rings from ever being empty.
    fn detach_all(&mut self) {
        let wall = WallOffset::measure();
        for source in &mut self.sources {
            source.release(&source.loaded.hooks(), &mut self.losses, wall);
        }
        self.stopping = true;
    }

    /// Takes one turn's records out of each ring; true when there may be more.
    fn drain(&mut self) -> bool {
        let wall = WallOffset::measure();
        // Before the rings are read: what came until then is still taken out.
        let over: Vec<bool> = self.sources.iter().map(Source::is_over).collect();
        let mut turn = Turn {
            wall,
            settings: &self.settings,
            host: &self.host,
            sources: &mut self.sources,
            names: &mut self.names,
            losses: &mut self.losses,
            events: &mut self.events,
        };
        let more = turn.run();
        if !more {
            let mut over = over.into_iter();
            let ended = self.sources.extract_if(.., |_| over.next().unwrap_or(false));
            for mut source in ended {
                source.count(&mut self.losses, wall);
            }
        }
        more
    }

    fn tell_losses(&mut self) {
        let wall = WallOffset::measure();
        for source in &mut self.sources {
            source.count(&mut self.losses, wall);
        }
        // What cannot be written now is told with the next: the counts stay.
        if self.outbox.is_refused() {
            return;
        }
        let reporter = &mut self.reporter;
        self.events.extend(self.losses.tell(|kind| reporter.begin(kind)));
    }

    fn send(&mut self) {
        let now = WallOffset::measure().unix_nanos(clock::boot_nanos());
        if !self.events.is_empty() {
            let events = std::mem::take(&mut self.events);
            let mut kinds: Vec<(Kind, u64)> = Vec::new();
            for event in &events {
                match kinds.iter_mut().find(|(kind, _)| *kind == event.kind) {
                    Some((_, count)) => *count += 1,
                    None => kinds.push((event.kind, 1)),
                }
            }
            self.outbox.offer(Request { payload: self.encoder.encode(events, now), kinds });
        }
        self.outbox.pump();
        for lost in self.outbox.take_lost() {
            // The bytes of a mixed request are counted once, with its first event.
            let mut bytes = lost.request.payload.len() as u64;
            for (kind, count) in lost.request.kinds {
                let cause = Cause { stage: "receiver", reason: lost.reason, hook: None, kind: Some(kind) };
                self.losses.add(cause, count, std::mem::take(&mut bytes), now);
            }
        }
    }

    /// Gives the log a moment to take what is on its way.
    fn finish(mut self) -> Stopped {
        let deadline = Instant::now() + STOP;
        self.outbox.pump();
        while !self.outbox.is_empty() && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(5));
            self.outbox.pump();
        }
        Stopped { unstored_records: self.outbox.pending_records() }
    }
}
