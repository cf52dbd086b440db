//! Stories: a log that lives on a device, loses power, lives on from what was left, and loses power again.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tidegate::spool::Durability;

use crate::check::{Checker, Verdict};
use crate::device::Device;
use crate::filesystem::FileSystem;
use crate::images::{Drive, Images, Keep};
use crate::model::Model;
use crate::record::NEEDLE;
use crate::room::Room;
use crate::trace::{Event, Trace};
use crate::workload::{DATA, Workload};

/// Lives of a story. The later ones begin with an image of the life before, so that power is lost in recovery too.
const LIVES: u64 = 3;
/// Failed images that are kept to be looked at.
const KEPT_MAX: u64 = 3;
const BEGIN: &str = "begin";
const END: &str = "end";

/// What is told of many images.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) survived: u64,
    pub(crate) lost: u64,
    pub(crate) not_measured: u64,
    pub(crate) broken: u64,
    recordings: u64,
    /// Recordings in which segments were recycled or removed.
    reclaimed: u64,
    /// Writes that the device refused.
    pub(crate) refused: u64,
    checking: Duration,
    /// The first of each kind of failure, with its image.
    pub(crate) failures: Vec<String>,
}

impl Tally {
    pub(crate) fn images(&self) -> u64 {
        self.survived + self.lost + self.not_measured + self.broken
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.images() as f64 / self.checking.as_secs_f64().max(0.001);
        write!(f, "{} images of {} recordings", self.images(), self.recordings)?;
        let Self { reclaimed, refused, survived, lost, not_measured, broken, .. } = self;
        write!(f, " ({reclaimed} with segments reclaimed, {refused} writes failed), {rate:.1} images/s: ")?;
        write!(f, "survived {survived}, lost {lost}, nothing promised yet {not_measured}, harness broken {broken}")
    }
}

/// Stories on one file system.
pub(crate) struct Campaign {
    pub(crate) file_system: FileSystem,
    pub(crate) images_per_life: usize,
    pub(crate) durability: Durability,
    pub(crate) drive: Drive,
    /// Whether data writes fail now and then.
    pub(crate) faults: bool,
    pub(crate) tally: Tally,
    checkers: Vec<Checker>,
    /// Left last: it sweeps.
    room: Room,
}

/// A power cut: after which event, and what of the unflushed blocks is kept.
#[derive(Debug, Clone, Copy)]
struct Cut {
    after: usize,
    keep: Keep,
    seed: u64,
}

/// A recorded life.
struct Life {
    seed: u64,
    number: u64,
    file_system: FileSystem,
    base: Vec<u8>,
    before: Model,
    trace: Trace,
}

impl Campaign {
    pub(crate) fn new(file_system: FileSystem, images_per_life: usize, threads: usize) -> Self {
        let room = Room::enter();
        let checkers = (0..threads).map(|n| Checker::new(&room, &format!("image-{n}"), file_system)).collect();
        let (durability, drive) = (Durability::Sync, Drive::Honest);
        Self { file_system, images_per_life, durability, drive, faults: false, tally: Tally::default(), checkers, room }
    }

    /// Tells stories from this one on, until there are enough or one failed.
    pub(crate) fn stories(&mut self, what: &str, first: u64, is_enough: impl Fn(&Tally, u64) -> bool) {
        for seed in first.. {
            self.story(seed);
            let is_over = is_enough(&self.tally, seed - first + 1) || !self.tally.failures.is_empty();
            println!("{}{what}: stories {first} to {seed}: {}", if is_over { "figure: " } else { "" }, self.tally);
            if is_over {
                break;
            }
        }
    }

    /// Tells one story and checks its images.
    pub(crate) fn story(&mut self, seed: u64) {
        let mut dice = fastrand::Rng::with_seed(seed);
        let base = self.room.memory.join("base");
        self.file_system.make(&base);
        let mut before = Model::default();
        for number in 0..LIVES {
            // With its data in the journal, ext4 gives up when data cannot be written.
            let file_system = if self.faults { self.file_system } else { self.file_system.vary(&mut dice) };
            let life = self.record(&base, before, Life::numbered(seed, number, file_system), dice.u64(..));
            let cuts = life.cuts(self.images_per_life, &mut dice);
            let verdicts = self.check(&life, &cuts);
            let sound = |(_, verdict): &&(Cut, Verdict)| matches!(verdict, Verdict::Survived | Verdict::NotMeasured);
            let sound: Vec<Cut> = verdicts.iter().filter(sound).map(|(cut, _)| *cut).collect();
            let Some(next) = dice.choice(&sound) else { return };
            before = life.image(*next, self.drive, |image, model| {
                std::fs::write(&base, image).unwrap();
                model.clone()
            });
        }
    }

    fn record(&mut self, base: &Path, before: Model, life: Life, seed: u64) -> Life {
        let device = Device::start(&self.room, base, life.file_system);
        let mounted = device.mount();
        let marker = device.marker();
        marker.say(BEGIN);
        let data = mounted.path().join(DATA);
        let (durability, faults) = (self.durability, self.faults);
        let workload = Workload { data: &data, marker: &marker, durability, life: life.number, seed, faults };
        let oldest = std::thread::scope(|scope| {
            let living = scope.spawn(|| workload.live());
            if faults {
                fail_now_and_then(&device, fastrand::Rng::with_seed(seed), || living.is_finished());
            }
            living.join().unwrap()
        });
        self.tally.reclaimed += u64::from(oldest > 1);
        marker.say(END);
        drop(marker);
        mounted.unmount().unwrap();
        self.tally.recordings += 1;
        let trace = device.end();
        self.tally.refused += trace.refused() as u64;
        Life { base: std::fs::read(base).unwrap(), before, trace, ..life }
    }

    fn check(&mut self, life: &Life, cuts: &[Cut]) -> Vec<(Cut, Verdict)> {
        let began = Instant::now();
        let (drive, threads) = (self.drive, self.checkers.len());
        let verdicts: Vec<(Cut, Verdict)> = std::thread::scope(|scope| {
            let check = |(number, checker): (usize, &'_ mut Checker)| -> Vec<(Cut, Verdict)> {
                checker.file_system = life.file_system;
                let mut images = Images::new(&life.trace, &life.base, &life.before, drive);
                let mine = cuts.iter().skip(number).step_by(threads);
                mine.map(|cut| (*cut, images.at(*cut, |image, model| checker.check(image, model)))).collect()
            };
            let running: Vec<_> =
                self.checkers.iter_mut().enumerate().map(|part| scope.spawn(move || check(part))).collect();
            running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        self.tally.checking += began.elapsed();
        for (cut, verdict) in &verdicts {
            self.count(life, *cut, verdict);
        }
        verdicts
    }

    fn count(&mut self, life: &Life, cut: Cut, verdict: &Verdict) {
        let (counter, what) = match verdict {
            Verdict::Survived => (&mut self.tally.survived, None),
            Verdict::NotMeasured => (&mut self.tally.not_measured, None),
            Verdict::Lost(what) => (&mut self.tally.lost, Some(what)),
            Verdict::Broken(what) => (&mut self.tally.broken, Some(what)),
        };
        *counter += 1;
        let Some(what) = what.filter(|_| self.tally.failures.len() < KEPT_MAX as usize) else { return };
        let Life { seed, number, file_system, .. } = life;
        let kept =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("block-{seed}-{number}-{}.image", cut.after));
        life.image(cut, self.drive, |image, model| {
            std::fs::write(&kept, image).unwrap();
            std::fs::write(kept.with_extension("promises"), format!("{model:#?}")).unwrap();
        });
        let place = format!("story {seed}, life {number} on {file_system:?}, {cut:?}");
        self.tally.failures.push(format!("{place}: {what}; the image is {}", kept.display()));
    }
}

/// Writes of data fail, a few or for a while; those of the file system do not.
fn fail_now_and_then(device: &Device, mut dice: fastrand::Rng, is_over: impl Fn() -> bool) {
    while !is_over() {
        std::thread::sleep(Duration::from_millis(dice.u64(..100)));
        let errno = if dice.bool() { "EIO" } else { "ENOSPC" };
        let times = if dice.u8(..4) == 0 { "-".to_owned() } else { dice.u8(1..4).to_string() };
        device.command(&format!("fail write {times} {errno} {NEEDLE}"));
        std::thread::sleep(Duration::from_millis(dice.u64(..60)));
        device.command("heal");
    }
}

impl Life {
    fn numbered(seed: u64, number: u64, file_system: FileSystem) -> Self {
        Self { seed, number, file_system, base: Vec::new(), before: Model::default(), trace: Trace::empty() }
    }

    /// Cuts in the order of time: before a write or a flush, and with it after every mark in front of it.
    fn cuts(&self, count: usize, dice: &mut fastrand::Rng) -> Vec<Cut> {
        let (begin, end) = (self.trace.find(BEGIN), self.trace.find(END));
        let is_place = |at: &usize| matches!(self.trace.event(*at), Event::Write { .. } | Event::Flush);
        let places: Vec<usize> = (begin..end).filter(is_place).chain([end]).collect();
        let mut cuts: Vec<Cut> = (0..count)
            .map(|_| {
                let keep = match dice.u8(..8) {
                    0 => Keep::All,
                    1 => Keep::Nothing,
                    chance => Keep::Some(f64::from(chance) / 8.0),
                };
                Cut { after: places[dice.usize(..places.len())], keep, seed: dice.u64(..) }
            })
            .collect();
        cuts.sort_by_key(|cut| cut.after);
        cuts
    }

    /// The image of one cut.
    fn image<R>(&self, cut: Cut, drive: Drive, look: impl FnOnce(&[u8], &Model) -> R) -> R {
        Images::new(&self.trace, &self.base, &self.before, drive).at(cut, look)
    }
}

impl Images<'_> {
    fn at<R>(&mut self, cut: Cut, look: impl FnOnce(&[u8], &Model) -> R) -> R {
        self.play(cut.after);
        self.cut(cut.keep, &mut fastrand::Rng::with_seed(cut.seed), look)
    }
}
