//! The thread between the rings and the log.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::attach::Probes;
use super::catalogue::Kind;
use super::clock::{self, WallOffset};
use super::collector::Reporter;
use super::decode::{Content, Context, Head, Record, hung};
use super::encode::Encoder;
use super::episodes::Episodes;
use super::event::Event;
use super::gaps::Gaps;
use super::host::Host;
use super::list;
use super::loss::{Cause, Losses};
use super::object::Loaded;
use super::outbox::{Outbox, Request};
use super::report::HookReport;
use super::ring;
use super::settings::Settings;
use crate::receivers::Intake;

/// The rings are looked at this often even without a wake-up: one can be missed on some machines.
const TICK: Duration = Duration::from_millis(250);
/// How often losses are told.
const TELL: Duration = Duration::from_secs(10);
/// How long a stop waits for the log.
const STOP: Duration = Duration::from_secs(2);
/// The cgroup file systems are walked again at most this often.
const WALK: Duration = Duration::from_secs(1);

/// A running receiver.
#[derive(Debug)]
pub struct Running {
    wake: Arc<OwnedFd>,
    thread: JoinHandle<Stopped>,
}

/// How a receiver ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stopped {
    /// Records that were read but that the log did not take in time.
    pub unstored_records: u64,
}

impl Probes {
    /// Starts the thread that drains the rings into `intake`. The hooks' states are its first records.
    ///
    /// # Errors
    /// What the kernel says when it gives no thread or no descriptor.
    pub fn start(self, intake: Intake) -> std::io::Result<Running> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let stop = Arc::clone(&wake);
        let worker = Worker::new(self, Outbox::new(intake));
        let thread = std::thread::Builder::new().name("kernel".to_owned()).spawn(move || worker.run(&stop))?;
        Ok(Running { wake, thread })
    }
}

impl Running {
    /// Empties the rings, waits up to two seconds for the log, and detaches the hooks.
    #[must_use = "says what was not stored"]
    pub fn stop(self) -> Stopped {
        if let Err(error) = rustix::io::write(&self.wake, &1_u64.to_ne_bytes()) {
            tracing::error!(%error, "the kernel receiver's thread cannot be woken; it is left behind");
            return Stopped::default();
        }
        self.thread.join().unwrap_or_else(|_| {
            tracing::error!("the kernel receiver's thread had panicked");
            Stopped::default()
        })
    }
}

struct Worker {
    settings: Settings,
    host: Host,
    loaded: Option<Loaded>,
    reports: Vec<HookReport>,
    encoder: Encoder,
    outbox: Outbox,
    losses: Losses,
    gaps: Gaps,
    reporter: Reporter,
    events: Vec<Event>,
    episodes: Episodes,
    walked: Instant,
}

impl Worker {
    fn new(probes: Probes, outbox: Outbox) -> Self {
        let reports = probes.reports().iter().chain(probes.helpers()).cloned().collect();
        let Probes { settings, host, loaded, .. } = probes;
        let encoder = Encoder::new(host.resource(), settings.event_name_attribute);
        Self {
            reporter: Reporter::new(&host.boot_id),
            reports,
            settings,
            host,
            loaded,
            encoder,
            outbox,
            losses: Losses::default(),
            gaps: Gaps::default(),
            events: Vec::new(),
            episodes: Episodes::default(),
            walked: Instant::now(),
        }
    }

    fn run(mut self, stop: &OwnedFd) -> Stopped {
        for report in std::mem::take(&mut self.reports) {
            self.events.push(self.reporter.probe_state(&report, None));
        }
        let mut told = Instant::now();
        let mut more = true;
        loop {
            let stopping = !more && self.wait(stop);
            more = self.drain();
            if stopping || told.elapsed() >= TELL {
                told = Instant::now();
                self.tell_losses();
            }
            self.send();
            if stopping && !more {
                return self.finish();
            }
        }
    }

    /// Waits for a record, a tick or the stop; true on the stop.
    fn wait(&self, stop: &OwnedFd) -> bool {
        let mut fds = vec![PollFd::new(stop, PollFlags::IN)];
        if let Some(loaded) = &self.loaded {
            let rings = [&loaded.rings.urgent, &loaded.rings.bulk, &loaded.rings.cgroups];
            fds.extend(rings.into_iter().map(|ring| PollFd::from_borrowed_fd(ring.as_fd(), PollFlags::IN)));
        }
        let tick = Timespec { tv_sec: 0, tv_nsec: i64::from(TICK.subsec_nanos()) };
        match poll(&mut fds, Some(&tick)) {
            Ok(_) => fds[0].revents().contains(PollFlags::IN),
            Err(error) => {
                // Only EINTR is expected; the rings are looked at either way.
                tracing::debug!(%error, "poll");
                false
            }
        }
    }

    /// Takes one turn's records out of each ring; true when there may be more.
    fn drain(&mut self) -> bool {
        let Some(loaded) = &mut self.loaded else { return false };
        let mut turn = Turn {
            wall: WallOffset::measure(),
            settings: &self.settings,
            host: &self.host,
            losses: &mut self.losses,
            gaps: &mut self.gaps,
            events: &mut self.events,
            walked: &mut self.walked,
            episodes: &mut self.episodes,
        };
        turn.run(loaded)
    }

    fn tell_losses(&mut self) {
        let now = WallOffset::measure().unix_nanos(clock::boot_nanos());
        if let Some(loaded) = &self.loaded {
            self.gaps.count(loaded, &mut self.losses, now);
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

/// One turn over the rings.
struct Turn<'a> {
    wall: WallOffset,
    settings: &'a Settings,
    host: &'a Host,
    losses: &'a mut Losses,
    gaps: &'a mut Gaps,
    events: &'a mut Vec<Event>,
    walked: &'a mut Instant,
    episodes: &'a mut Episodes,
}

impl Turn<'_> {
    fn run(&mut self, loaded: &mut Loaded) -> bool {
        let mut records = Vec::new();
        self.follow_cgroups(loaded);
        let mut more = ring::drain(&mut loaded.rings.urgent, |bytes| self.parse(bytes, &mut records));
        more |= ring::drain(&mut loaded.rings.bulk, |bytes| self.parse(bytes, &mut records));
        let mut listed = false;
        for record in &records {
            self.learn_cgroups(loaded, record);
            let hung = matches!(record.content, Content::Hung(_));
            // One listing serves the whole turn: khungtaskd tells all its tasks at once.
            let blocked =
                if hung && !std::mem::replace(&mut listed, true) { list::blocked(&mut loaded.ebpf) } else { None };
            let event = self.context(loaded, blocked).event(record);
            self.events.extend(event);
        }
        for finished in if self.episodes.is_empty() { Vec::new() } else { self.episodes.poll() } {
            let event = hung::ended(&finished, &self.context(loaded, None));
            self.events.push(event);
        }
        more
    }

    fn context<'c>(&'c mut self, loaded: &'c mut Loaded, blocked: Option<Vec<hung::Blocked>>) -> Context<'c> {
        Context {
            settings: self.settings,
            host: self.host,
            wall: self.wall,
            attribution: &loaded.attribution,
            reasons: &loaded.reasons,
            symbols: &mut loaded.symbols,
            episodes: self.episodes,
            blocked,
            page: rustix::param::page_size() as u64,
        }
    }

    fn parse(&mut self, bytes: &[u8], records: &mut Vec<Record>) {
        match Record::parse(bytes) {
            Some(record) => {
                self.gaps.saw(&record.head, self.wall.unix_nanos(record.head.boot_nanos), self.losses);
                records.push(record);
            }
            None => {
                let hook = Head::hook_of(bytes);
                let kind = hook.and_then(Kind::of_hook);
                let cause = Cause { stage: "decode", reason: "malformed", hook, kind };
                self.losses.add(cause, 1, bytes.len() as u64, self.wall.unix_nanos(clock::boot_nanos()));
            }
        }
    }

    fn follow_cgroups(&mut self, loaded: &mut Loaded) {
        let mut records = Vec::new();
        while ring::drain(&mut loaded.rings.cgroups, |bytes| self.parse(bytes, &mut records)) {}
        for record in records {
            if let Content::Cgroup(change) = record.content {
                loaded.attribution.cgroups.apply(change);
            }
        }
    }

    /// A cgroup is in its ring before an event of it is in another; where it is not, that ring was full.
    fn learn_cgroups(&mut self, loaded: &mut Loaded, record: &Record) {
        let unknown = |loaded: &Loaded| record.cgroups().into_iter().any(|ids| !loaded.attribution.cgroups.knows(ids));
        if !unknown(loaded) {
            return;
        }
        self.follow_cgroups(loaded);
        if unknown(loaded) && self.walked.elapsed() >= WALK {
            *self.walked = Instant::now();
            loaded.attribution.cgroups.walk_again();
        }
    }
}
