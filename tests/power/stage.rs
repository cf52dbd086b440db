//! One disk's life: powered on, cut, checked, again and again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::disk::{Cut, Disk, Fate, Flushes};
use crate::guest::{FileSystem, Guest, Life, Through};
use crate::image;
use crate::load::{self, Load};
use crate::long_run::Tally;
use crate::machine::Machine;
use crate::nbd::Server;
use crate::oracle::Oracle;
use crate::sink::Backend;
use crate::support::wait_for;

/// Generous: an emulator on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(180);
const FRESH_LIMIT: Duration = Duration::from_secs(180);
const STALL_LIMIT: Duration = Duration::from_secs(180);
const STOP_LIMIT: Duration = Duration::from_secs(180);
const LOAD_MAX: Duration = Duration::from_millis(1_500);
/// Most cuts wait for so many requests to the disk, so that something is on its way, and no longer than that.
const REQUESTS_MAX: u32 = 8;
const REQUEST_LIMIT: Duration = Duration::from_secs(2);
/// A first guess of how long a guest takes from `go` to readiness.
const START_GUESS: Duration = Duration::from_secs(1);

/// When the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// While clients are being answered.
    Load,
    /// Between the mount of the disk, with its journal's replay, and readiness.
    Start,
}

/// One life of the machine, and its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cycle {
    pub(crate) moment: Moment,
    pub(crate) flushes: Flushes,
    /// The agent's `durability`.
    pub(crate) durability: &'static str,
    /// Up or away by chance, or away.
    pub(crate) backend_may_be_up: bool,
    pub(crate) chance: Chance,
}

/// What decides when the power goes, and what of the unflushed goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chance {
    /// Mostly with one of the next requests to the disk; any part of it.
    Any,
    /// With a write that is on its way; all of it.
    AtAWrite,
    /// At once; all of it. Where nobody asks for a sync the disk has a request only when the kernel writes back, and
    /// just after that there is nothing to lose.
    AtOnce,
}

impl Cycle {
    /// Everybody does what is promised.
    pub(crate) fn honest(moment: Moment) -> Self {
        let chance = Chance::Any;
        Self { moment, flushes: Flushes::Honest, durability: "sync", backend_may_be_up: true, chance }
    }
}

/// The disk, and what outlives every cut of it.
pub(crate) struct Stage<'a> {
    machine: &'a mut Machine,
    runtime: Runtime,
    oracle: Arc<Oracle>,
    backend: Backend,
    file_system: FileSystem,
    disk: Arc<Disk>,
    server: Server,
    random: fastrand::Rng,
    usual_start: Duration,
    tally: Tally,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(machine: &'a mut Machine, file_system: FileSystem, seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let oracle = Arc::new(Oracle::default());
        let backend = runtime.block_on(Backend::start(Arc::clone(&oracle)));
        let disk = Arc::new(Disk::new(image::make(file_system)));
        let server = Server::start(&disk, &machine.socket(&format!("disk-{file_system}-{seed}")));
        let random = fastrand::Rng::with_seed(seed);
        let (usual_start, tally) = (START_GUESS, Tally::default());
        Self { machine, runtime, oracle, backend, file_system, disk, server, random, usual_start, tally }
    }

    /// Starts the guest, takes its power away, checks what the disk then holds.
    ///
    /// # Errors
    /// What the image lacks.
    pub(crate) fn cut(&mut self, cycle: Cycle) -> Result<(), String> {
        let Cycle { moment, flushes, durability, backend_may_be_up, chance } = cycle;
        let is_up = self.random.bool() && backend_may_be_up;
        self.backend.set_up(is_up);
        let guest = self.power_on(flushes, durability);
        let load = match moment {
            Moment::Load => Some(self.wait_for_traffic(&guest, is_up)),
            Moment::Start => None,
        };
        self.pause_at_most(if moment == Moment::Load { LOAD_MAX } else { self.usual_start });
        let was_ready = guest.has_said("ready in ");
        let cut = self.lose_power(chance);
        let console = guest.kill();
        if let Some(load) = load {
            self.runtime.block_on(load.stop());
        }
        self.tally.count(if was_ready { "cut_in_load" } else { "cut_in_start" }, 1);
        self.tally.count("cuts_that_lost_blocks", u64::from(cut.lost > 0));
        self.tally.count("blocks_lost", cut.lost);
        self.tally.count("unflushed_blocks_kept", cut.kept);
        self.check().map_err(|error| format!("{error}\n\nthe guest's console:\n{console}"))
    }

    fn lose_power(&mut self, chance: Chance) -> Cut {
        match chance {
            Chance::Any => {
                if self.random.u8(..4) > 0 {
                    self.disk.lose_power_at_request(self.random.u32(1..=REQUESTS_MAX), REQUEST_LIMIT);
                }
                self.disk.cut(&mut self.random)
            }
            Chance::AtAWrite => {
                self.disk.lose_power_at_write(FRESH_LIMIT);
                self.disk.cut_as(Fate::AllLost, &mut self.random)
            }
            Chance::AtOnce => self.disk.cut_as(Fate::AllLost, &mut self.random),
        }
    }

    /// The faults are over: everything acknowledged arrives, and the agent takes and delivers new records, and stops.
    pub(crate) fn survive(mut self) -> Tally {
        self.backend.set_up(true);
        let mut guest = self.power_on(Flushes::Honest, "sync");
        guest.wait_said("ready in ", START_LIMIT);
        // The log is delivered in order. When the second arrives, the first is acknowledged to the log, and what came
        // before it.
        for _ in 0..2 {
            let fresh = self.runtime.block_on(async {
                let mut client = load::connect(guest.agent).await;
                load::send(&mut client, &self.oracle, 1).await.unwrap()
            });
            self.wait_for_delivery(&guest);
            assert!(self.oracle.all_delivered(&fresh), "the last record of all did not arrive");
        }
        guest.tell("stop");
        guest.wait_said("agent ended: 0", STOP_LIMIT);
        let console = guest.wait_off(STOP_LIMIT);
        let left = self.disk.with_durable(|image| image::check(image, self.file_system, &self.oracle)).unwrap();
        assert!(
            left.pending <= 1 && left.owed == 0,
            "after a clean stop with everything delivered: {left:?}\n{console}"
        );
        self.figures()
    }

    fn wait_for_delivery(&self, guest: &Guest) {
        let mut lost = self.oracle.figures().lost;
        while lost > 0 {
            let less = wait_for(STALL_LIMIT, || Some(self.oracle.figures().lost).filter(|now| *now < lost));
            lost = less.unwrap_or_else(|| panic!("{lost} records do not arrive\n{}", guest.console()));
        }
    }

    fn figures(mut self) -> Tally {
        let figures = self.oracle.figures();
        assert!(figures.acked > 0, "nothing was acknowledged");
        assert_eq!(figures.invented, 0, "{:#?}", self.oracle.inventions());
        assert_eq!(figures.lost, 0);
        figures.count(&mut self.tally);
        self.tally.count("flushes", self.disk.flushed());
        self.tally
    }

    fn power_on(&mut self, flushes: Flushes, durability: &'static str) -> Guest {
        self.disk.power_on(flushes);
        let mut guest = self.machine.resume(&self.server);
        let (file_system, backend) = (self.file_system, self.backend.address);
        guest.go(&Life { file_system, disk: Through::Driver, durability, backend });
        guest
    }

    /// Waits until the agent is ready and has acknowledged something, so that every cut has something to lose; and has
    /// delivered something, if the backend takes it, so that the cursor moves.
    fn wait_for_traffic(&mut self, guest: &Guest, is_up: bool) -> Load {
        let went = Instant::now();
        guest.wait_said("ready in ", START_LIMIT);
        self.usual_start = went.elapsed();
        let before = self.oracle.figures();
        let seed = self.random.u64(..);
        let load = self.runtime.block_on(async { Load::start(guest.agent, &self.oracle, seed) });
        let moved = wait_for(FRESH_LIMIT, || {
            let now = self.oracle.figures();
            (now.acked > before.acked && (!is_up || now.delivered > before.delivered)).then_some(())
        });
        assert!(moved.is_some(), "no traffic within {FRESH_LIMIT:?}\n{}", guest.console());
        load
    }

    #[allow(clippy::disallowed_methods, reason = "a cut comes at a random moment, not on a condition")]
    fn pause_at_most(&mut self, longest: Duration) {
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        std::thread::sleep(Duration::from_micros(self.random.u64(0..=micros)));
    }

    fn check(&mut self) -> Result<(), String> {
        let found = self.disk.with_durable(|image| image::check(image, self.file_system, &self.oracle))?;
        self.tally.count("images_that_alone_held_acked_records", u64::from(found.owed > 0));
        self.tally.count("acked_records_found", found.owed as u64);
        self.tally.count("pending_max", found.pending as u64);
        Ok(())
    }

    /// Keeps the disk's image for who looks for the fault.
    #[allow(clippy::disallowed_methods, reason = "evidence for people, not data of the log")]
    pub(crate) fn keep_image(&self) -> PathBuf {
        let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("failed-{}.img", self.file_system));
        self.disk.with_durable(|image| std::fs::write(&kept, image)).unwrap();
        kept
    }
}
