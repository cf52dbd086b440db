//! A spool whose workers have no threads: nothing happens by itself, and time goes on when it is told to.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use super::*;
use crate::spool::clock::Clock;
use crate::spool::env::Env;
use crate::spool::worker::Runner;
use crate::spool::{Ack, Durability};

#[derive(Debug, Default)]
struct HandClock(AtomicU64);

impl HandClock {
    fn go(&self, time: Duration) {
        self.0.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn wall(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    fn boot(&self) -> Duration {
        Duration::from_nanos(self.wall())
    }
    fn monotonic(&self) -> Duration {
        self.boot()
    }
}

fn is_answered(ack: &mut Ack) -> bool {
    pin!(ack).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn workers_without_threads_act_in_their_turns_and_deadlines_are_the_clocks() {
    let mut bench = Bench::new();
    bench.spool.take().unwrap().close().unwrap();
    let clock = Arc::new(HandClock::default());
    let env = Env { clock: clock.clone(), runner: Runner::Hand, ..Env::real() };
    bench.options.log.durability = Durability::Interval;
    let spool = Spool::open_on(env, bench.path(), bench.options.clone()).unwrap();
    let log = spool.log("log").unwrap();
    let mut ack = log.append(1, payload(0, 100), 1).unwrap();
    assert!(!is_answered(&mut ack), "no thread writes it");
    spool.turn_writers();
    assert!(is_answered(&mut ack));
    assert_eq!(log.durable_sequence(), 0, "its sync is not due");
    clock.go(bench.options.log.sync_interval);
    spool.turn_writers();
    assert_eq!(log.durable_sequence(), 1);
    let mut c = cursor(&log, "c");
    assert_eq!(drain(&mut c).len(), 1);
    c.ack(1, 1, 0).unwrap();
    let position = |reader: &Reader| reader.inspect().unwrap().logs[0].cursors[0].sequence;
    assert_eq!(position(&bench.reader()), 1);
    spool.turn_housekeeper();
    assert_eq!(position(&bench.reader()), 2);
    drop(c);
    spool.close().unwrap();
}
