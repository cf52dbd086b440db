//! kill -9 at any moment, opening included: a child process of this test binary appends, reads and acks; its acks
//! are what it printed.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;

const DIRECTORY: &str = "TIDEGATE_KILL_TEST_DIRECTORY";
const FROM: &str = "TIDEGATE_KILL_TEST_FROM";

fn options() -> Options {
    Options {
        log: LogOptions { segment_size: Some(64 << 10), ..LogOptions::default() },
        max_size: Some(256 << 20),
        min_free_percent: 0,
        ..Options::default()
    }
}

/// Not a test of its own: what the killed process does.
#[test]
#[ignore = "performed by other tests: kill_9_at_any_moment_loses_no_acked_frame"]
fn child() {
    let directory = std::env::var(DIRECTORY).expect("set by the test that starts this one");
    let from: u64 = std::env::var(FROM).unwrap().parse().unwrap();
    let spool = Spool::open(Path::new(&directory), options()).unwrap();
    let log = spool.log("log").unwrap();
    std::thread::scope(|scope| {
        for producer in 0..4 {
            let log = &log;
            scope.spawn(move || {
                for number in (from + producer..).step_by(4) {
                    log.append(1, payload(number, 200 + (number % 7) as usize * 900), 1).unwrap().wait().unwrap();
                    say(&format!("acked {number}"));
                }
            });
        }
        let mut cursor = cursor(&log, "c");
        loop {
            assert!(cursor.wait_readable(Duration::from_secs(60)));
            while let Some(batch) = cursor.next_batch(20_000).unwrap() {
                for frame in &batch.frames {
                    say(&format!("delivered {}", number(&frame.payload)));
                }
                let (first, last) = (batch.frames[0].sequence, batch.frames[batch.frames.len() - 1].sequence);
                cursor.ack(first, last, 0).unwrap();
            }
        }
    });
}

/// One line in one write: what is in the pipe was said before the kill. The test harness leaves an unfinished line.
fn say(line: &str) {
    std::io::stdout().lock().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}

#[test]
fn kill_9_at_any_moment_loses_no_acked_frame() {
    let cycles: u64 = std::env::var("KILL_CYCLES").map_or(25, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let (mut acked, mut delivered) = (BTreeSet::new(), BTreeSet::new());
    let mut moment = 7_u64;
    for cycle in 0..cycles {
        // Half of the kills within the first milliseconds, when the spool is being opened.
        moment = moment.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let limit = if cycle % 2 == 0 { 20 } else { 200 };
        let (said, clean) = run_child(dir.path(), cycle * 10_000_000, Duration::from_millis((moment >> 33) % limit));
        assert!(clean, "cycle {cycle}: the child ended by itself");
        for line in said {
            match line.split_once(' ') {
                Some(("acked", n)) => assert!(acked.insert(n.parse::<u64>().unwrap())),
                Some(("delivered", n)) => drop(delivered.insert(n.parse::<u64>().unwrap())),
                _ => {}
            }
        }
    }
    assert!(!acked.is_empty(), "the kills came too early to test anything");
    let spool = Spool::open(dir.path(), options()).unwrap();
    let log = spool.log("log").unwrap();
    let mut all = log.cursor("all", Start::Oldest, Need::Optional).unwrap();
    let frames = drain(&mut all);
    assert!(frames.windows(2).all(|w| w[0].sequence < w[1].sequence), "a sequence is given once");
    let found: BTreeSet<u64> = numbers(&frames).into_iter().collect();
    assert_eq!(acked.difference(&found).collect::<Vec<_>>(), [&0; 0], "acked and not recovered");
    let pending: BTreeSet<u64> = numbers(&drain(&mut cursor(&log, "c"))).into_iter().collect();
    let passed: Vec<&u64> = found.iter().filter(|n| !delivered.contains(*n) && !pending.contains(*n)).collect();
    assert_eq!(passed, [&0; 0], "passed by the cursor and never delivered");
    spool.close().unwrap();
    let verification = Reader::open(dir.path()).unwrap().verify(&mut |_, _| {}).unwrap();
    assert!(verification.logs[0].ledger_closes, "{verification:?}");
}

/// Starts the child, kills it after a while, answers what it said, and whether it was the kill that ended it.
fn run_child(dir: &Path, from: u64, after: Duration) -> (Vec<String>, bool) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "spool::tests::kill::child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, dir)
        .env(FROM, from.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = child.stdout.take().unwrap();
    let lines = std::thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).collect::<Vec<_>>());
    std::thread::park_timeout(after);
    let ended = child.try_wait().unwrap();
    child.kill().unwrap();
    let status = child.wait_with_output().unwrap();
    if let Some(ended) = ended {
        eprintln!("{ended}: {}", String::from_utf8_lossy(&status.stderr));
    }
    (lines.join().unwrap(), ended.is_none())
}
