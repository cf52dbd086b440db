//! The cross-check: the same load through dm-log-writes in the guest, its log replayed here.

use std::sync::Arc;
use std::time::Duration;

use crate::disk::{Disk, Flushes};
use crate::guest::{FileSystem, Life, Through};
use crate::image::{self, DISK_BYTES};
use crate::load::Load;
use crate::log_writes::{self, Entry};
use crate::machine::Machine;
use crate::nbd::Server;
use crate::oracle::{Acked, Oracle};
use crate::sink::Backend;
use crate::support::wait_for;

const MARKS: usize = 12;
const IMAGES: usize = 40;
/// Between two marks.
const ACKED: usize = 40;
const START_LIMIT: Duration = Duration::from_secs(180);
const MARK_LIMIT: Duration = Duration::from_secs(180);
const STOP_LIMIT: Duration = Duration::from_secs(180);

/// What a run through dm-log-writes left.
struct Logged {
    before: Vec<u8>,
    after: Vec<u8>,
    log: Vec<u8>,
    entries: Vec<Entry>,
    oracle: Arc<Oracle>,
    /// What was acknowledged before each mark.
    acked: Vec<Acked>,
}

/// Runs the load, then checks images at flushes and between them. How many.
pub(crate) fn cross_check(file_system: FileSystem, seed: u64) -> usize {
    let logged = run(file_system, seed);
    let first = logged.entries.iter().position(|entry| entry.mark.as_deref() == Some("0")).expect("no mark in the log");
    let mut random = fastrand::Rng::with_seed(seed);
    let points = points(&logged.entries, first, &mut random);
    let mut disk = logged.before.clone();
    let (mut mark, mut owed) = (None, 0);
    for (at, entry) in logged.entries.iter().enumerate() {
        entry.replay(&logged.log, &mut disk);
        mark = entry.mark.as_ref().and_then(|text| text.parse::<usize>().ok()).or(mark);
        if points.contains(&at) {
            let oracle = logged.oracle.asking_for(&logged.acked[mark.unwrap()]);
            let found = image::check(&disk, file_system, &oracle);
            owed += found.unwrap_or_else(|e| panic!("{file_system}, seed {seed}, entry {at}: {e}")).owed;
        }
    }
    assert!(disk == logged.after, "{file_system}: the witness's writes and the disk's do not make the same image");
    let (images, entries) = (points.len(), logged.entries.len());
    println!(
        "figure: dm-log-writes on {file_system}: {images} images from {entries} entries, {owed} acked records found, \
         none lost; the whole log makes the disk's image, byte for byte (seed {seed})"
    );
    images
}

/// Half at flushes, half anywhere, all after the first mark.
fn points(entries: &[Entry], first: usize, random: &mut fastrand::Rng) -> std::collections::BTreeSet<usize> {
    let after = first..entries.len();
    let barriers: Vec<usize> = after.clone().filter(|at| entries[*at].is_barrier).collect();
    let step = barriers.len().div_ceil(IMAGES / 2).max(1);
    let anywhere = (0..IMAGES / 2).map(|_| random.usize(after.clone()));
    barriers.iter().copied().step_by(step).chain(anywhere).collect()
}

fn run(file_system: FileSystem, seed: u64) -> Logged {
    let machine = Machine::build();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let oracle = Arc::new(Oracle::default());
    let backend = runtime.block_on(Backend::start(Arc::clone(&oracle)));
    // Everything stays in the log, so that each image must hold all that was acknowledged before it.
    backend.set_up(false);
    let before = image::make(file_system);
    let disk = Arc::new(Disk::new(before.clone()));
    let log = Arc::new(Disk::new(vec![0; usize::try_from(DISK_BYTES).unwrap()]));
    let servers = [Server::start(&disk, &machine.socket("disk")), Server::start(&log, &machine.socket("log"))];
    disk.power_on(Flushes::Honest);
    log.power_on(Flushes::Honest);
    let mut guest = machine.boot(&[&servers[0], &servers[1]]);
    let backend = backend.address;
    guest.go(&Life { file_system, disk: Through::LogWrites, durability: "sync", backend });
    guest.wait_said("ready in ", START_LIMIT);
    let load = runtime.block_on(async { Load::start(guest.agent, &oracle, seed) });
    let mut acked = Vec::new();
    for mark in 0..MARKS {
        let enough = oracle.figures().acked + ACKED;
        let moved = wait_for(MARK_LIMIT, || (oracle.figures().acked >= enough).then_some(()));
        assert!(moved.is_some(), "no traffic within {MARK_LIMIT:?}\n{}", guest.console());
        acked.push(oracle.acked_now());
        guest.tell(&format!("mark {mark}"));
        guest.wait_said(&format!("marked {mark}"), MARK_LIMIT);
    }
    runtime.block_on(load.stop());
    guest.tell("stop");
    guest.wait_said("agent ended: 0", STOP_LIMIT);
    guest.wait_off(STOP_LIMIT);
    let (after, log) = (disk.with_durable(<[u8]>::to_vec), log.with_durable(<[u8]>::to_vec));
    let entries = log_writes::read(&log).unwrap();
    Logged { before, after, log, entries, oracle, acked }
}
