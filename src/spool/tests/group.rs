//! Rule 1: who comes while a sync is under way shares the next one.

use std::cell::RefCell;
use std::sync::Arc;

use super::fault_disk::FaultDisk;
use super::sim::{SimClock, poll};
use super::*;
use crate::spool::Ack;
use crate::spool::env::Env;

#[test]
fn rule_1_all_that_came_while_a_sync_was_under_way_share_the_next_one() {
    let disk = FaultDisk::default();
    let mut bench = Bench::new();
    // Time stands still: no quiet moment passes, and so no mark is written that needs a sync of its own.
    let clock = Arc::new(SimClock::new(0));
    let spool = bench.open_on(Env { disk: Arc::new(disk.clone()), clock, ..Env::real() });
    let log = spool.log("log").unwrap();
    // The segment is there.
    append(&log, 0..1, 100);
    let syncs = disk.hold_syncs();
    let queue = |number| log.append(1, payload(number, 100), 1).unwrap();
    let first = queue(1);
    until("the first one's sync", || syncs.count() == 1);
    let others: RefCell<Vec<Ack>> = RefCell::new((2..50).map(queue).collect());
    let left = || {
        others.borrow_mut().retain_mut(|ack| poll(ack).is_none());
        others.borrow().len()
    };
    syncs.let_one_through();
    first.wait().unwrap();
    until("the sync of the others", || syncs.count() == 1);
    assert_eq!(left(), 48, "none is answered before a sync");
    syncs.let_one_through();
    until("one sync is enough for all", || left() == 0);
}
