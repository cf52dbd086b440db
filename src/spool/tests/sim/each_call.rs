//! One call of a run fails, the first, the second and so on, until a run sees no fault: **T4**.
//!
//! Whatever fails: nothing that was acked is lost, the ledger closes, the log takes appends again by itself. A short
//! write or read, and a call that was interrupted, nobody notices.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use super::check::check_image;
use super::disk::{CHANGES, Call};
use super::plan::Plan;
use super::recorder::{Moment, NAMES};
use super::script;
use super::story::Story;
use super::trouble::{Strike, Trouble, Troubles};
use super::variable;
use crate::spool::tests::on_all_processors;

/// Far more calls than a run makes.
const TOO_MANY: u64 = 10_000;
/// Others are never interrupted or short, or are made again where they are made.
const INTERRUPTED: &[Call] = &[Call::Read, Call::Write];

struct Fault {
    name: &'static str,
    trouble: Trouble,
    /// Such calls; none: all.
    calls: &'static [Call],
    /// How many in a row.
    times: u64,
}

const FAULTS: [Fault; 10] = [
    Fault { name: "EIO", trouble: Trouble::Fails(Errno::IO), calls: &[], times: 1 },
    Fault { name: "EIO for a while", trouble: Trouble::Fails(Errno::IO), calls: &[], times: LASTING },
    Fault { name: "ENOSPC", trouble: Trouble::Fails(Errno::NOSPC), calls: CHANGES, times: 1 },
    Fault { name: "ENOSPC for a while", trouble: Trouble::Fails(Errno::NOSPC), calls: CHANGES, times: LASTING },
    Fault { name: "EROFS", trouble: Trouble::Fails(Errno::ROFS), calls: CHANGES, times: 1 },
    Fault { name: "EROFS for a while", trouble: Trouble::Fails(Errno::ROFS), calls: CHANGES, times: LASTING },
    Fault { name: "short", trouble: Trouble::Short, calls: INTERRUPTED, times: 1 },
    Fault { name: "short for a while", trouble: Trouble::Short, calls: INTERRUPTED, times: LASTING },
    Fault { name: "EINTR", trouble: Trouble::Fails(Errno::INTR), calls: INTERRUPTED, times: 1 },
    Fault { name: "EINTR for a while", trouble: Trouble::Fails(Errno::INTR), calls: INTERRUPTED, times: LASTING },
];

/// Several tries of everything.
const LASTING: u64 = 25;

/// Tells the script with the fault from the call of this number on; answers how many calls it struck.
fn run(plan: &Arc<Plan>, fault: &Fault, first: u64) -> u64 {
    let mut story = Story::new(plan.clone(), false);
    let Fault { trouble, calls, times, .. } = *fault;
    let strike = Strike { calls, first, times, trouble, fills: false };
    story.disk.troubles(|troubles| troubles.strike(strike));
    script::play(&mut story);
    let struck = story.disk.troubles(|troubles| troubles.struck());
    story.disk.troubles(Troubles::call_off);
    let moment =
        Moment { after: (Call::List, "".into(), true), tree: story.disk.tree(), model: story.recorder.model() };
    if !story.may_fail() {
        assert_nobody_noticed(&moment);
    }
    // What a crash leaves, and the run that goes on.
    check_image(&moment, plan, first, false);
    story.finish();
    struck
}

fn assert_nobody_noticed(moment: &Moment) {
    for log in &moment.model.logs {
        let refused: BTreeSet<&u64> = log.issued.keys().filter(|id| !log.answered.contains(id)).collect();
        assert!(refused.is_empty(), "{refused:?} were refused");
    }
}

/// Says which run it was that failed.
struct Teller(&'static str, u64);

impl Drop for Teller {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("with {} at call {}", self.0, self.1);
        }
    }
}

/// Runs with the fault from one call after another on, until one is without; answers how many calls that one makes.
fn until_clean(plan: &Arc<Plan>, fault: &Fault, stride: u64) -> u64 {
    let next = AtomicU64::new(0);
    let parts = on_all_processors(|_, _| {
        loop {
            let first = 1 + stride * next.fetch_add(1, Ordering::Relaxed);
            assert!(first < TOO_MANY, "{}: no run is without a fault", fault.name);
            let _teller = Teller(fault.name, first);
            if run(plan, fault, first) == 0 {
                return first - 1;
            }
        }
    });
    parts.into_iter().min().unwrap_or(0)
}

#[test]
fn the_run_does_to_a_disk_what_a_log_does() {
    let mut story = Story::new(script::plan(), true);
    script::play(&mut story);
    let moments = story.take_moments();
    let count = |call: Call, part: &str| {
        moments.iter().filter(|m| m.after.0 == call && m.after.1.to_string_lossy().contains(part)).count()
    };
    let [segment, spare] = ["seg-", "spare-"].map(|kind| format!("logs/{}/{kind}", NAMES[0]));
    let (made, kept) = (count(Call::Create, &spare), count(Call::Rename, &spare));
    assert!(made > 1 && kept > 0, "{made} files are made, {kept} kept");
    assert!(count(Call::Rename, &segment) > made, "and used again");
    assert!(count(Call::Remove, "/seg-") > 0, "others go");
    assert!(count(Call::Rename, "dead/a/seg-") > 0, "a letter is parked");
    assert!(story.seen.letters > 0 && story.recorder.model().logs.iter().all(|log| !log.answered.is_empty()));
}

#[test]
fn rule_8_whichever_call_fails_nothing_acked_is_lost_and_the_log_resumes() {
    let plan = script::plan();
    for fault in &FAULTS {
        // What lasts is met at the calls between as well.
        let stride = if fault.times == 1 { 1 } else { variable("CRASH_LASTING_STRIDE", 3) };
        let calls = until_clean(&plan, fault, stride);
        assert!(calls > 100, "{}: the run makes {calls} such calls", fault.name);
        eprintln!("figure: T4, {}: from one of {stride} calls on, of {calls}, then a run without", fault.name);
    }
}
