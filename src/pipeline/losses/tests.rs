//! Rule 19: a loss is told once; twice after a crash between the record and that it was told; never not at all.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::spool::{From, Need, Options, Reader, Start};

const DIRECTORY: &str = "TIDEGATE_LOSSES_TEST_DIRECTORY";

/// A data directory with a log that drops its oldest, and the teller of its losses.
struct Lab {
    spool: Spool,
    log: Log,
    losses: Losses,
}

impl Lab {
    fn open(directory: &Path) -> Self {
        let options = Options { max_size: Some(64 << 20), min_free_percent: 0, ..Options::default() };
        let small = LogOptions {
            max_size: Some(512 << 10),
            segment_size: Some(64 << 10),
            retain_size: 0,
            on_full: OnFull::DropOldest,
            ..LogOptions::default()
        };
        let spool = Spool::open(directory, options).unwrap();
        let log = spool.log_with("logs", small).unwrap();
        let own = open(&spool, &LogOptions::default()).unwrap();
        let losses = Losses {
            refusing: Refusing::default(),
            spool: spool.clone(),
            own,
            signals: BTreeMap::from([("logs".to_owned(), Signal::Logs)]),
            teller: Teller::default(),
            is_age_paused: false,
        };
        Self { spool, log, losses }
    }

    /// Appends far more than fits, for a cursor that reads nothing.
    fn lose(&self) {
        drop(self.log.cursor("logs:backend", Start::Oldest, Need::Required).unwrap());
        let acks: Vec<_> = (0..1500).map(|_| self.log.append(0, Bytes::from(vec![7; 1000]), 1).unwrap()).collect();
        for ack in acks {
            ack.wait().unwrap();
        }
    }

    fn dropped(&self) -> i64 {
        let inspection = self.spool.inspect().unwrap();
        let log = inspection.logs.iter().find(|log| log.name == "logs").unwrap();
        log.cursors[0].dropped_items.iter().map(|(_, items)| *items as i64).sum()
    }
}

/// What `self` says of one loss.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    reason: String,
    component: Option<String>,
    numbers: Vec<Option<i64>>,
    times: Vec<Option<String>>,
}

impl Told {
    fn count(&self) -> i64 {
        self.numbers[0].unwrap_or(0)
    }
}

/// Every record of `self`, once at least so many are there: the last is seen when the writer has said that it is durable.
fn told(directory: &Path, at_least: usize) -> Vec<Told> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let told = read(directory);
        if told.len() >= at_least {
            return told;
        }
        assert!(Instant::now() < until, "{told:?}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn read(directory: &Path) -> Vec<Told> {
    let mut frames = Reader::open(directory).unwrap().read(SELF_LOG, From::Oldest).unwrap();
    let mut told = Vec::new();
    while let Some(frame) = frames.next().unwrap() {
        let request = Decoded::decode(Signal::Logs, &frame.payload).unwrap();
        told.extend(request.records().iter().map(|record| {
            assert_eq!(record.text_attribute("event.name"), Some("collector.loss"));
            assert_eq!(record.text_attribute("collector.loss.stage"), Some("spool"));
            assert_eq!(record.text_attribute("collector.loss.log"), Some("logs"));
            assert_eq!(record.text_attribute("collector.loss.signal"), Some("logs"));
            let number = |name: &str| record.int_attribute(&format!("collector.loss.{name}"));
            let text = |name: &str| record.text_attribute(&format!("collector.loss.{name}")).map(str::to_owned);
            Told {
                reason: text("reason").unwrap(),
                component: text("component"),
                numbers: ["count", "bytes", "total", "first_sequence", "last_sequence"].map(number).to_vec(),
                times: ["first_time", "last_time"].map(text).to_vec(),
            }
        }));
    }
    told
}

#[test]
fn rule_19_a_loss_is_told_once_with_all_that_is_known_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut lab = Lab::open(directory.path());
    lab.losses.tell_new(|| {});
    assert_eq!(read(directory.path()), [], "nothing is lost");
    lab.lose();
    lab.losses.tell_new(|| {});
    lab.losses.tell_new(|| panic!("it was told"));
    let lost = lab.dropped();
    let first = told(directory.path(), 1).remove(0);
    assert_eq!((first.reason.as_str(), first.component.as_deref()), ("full", Some("logs:backend")));
    assert_eq!(first.numbers, [lost, 1000 * lost, lost, 1, lost].map(Some));
    assert!(first.times.iter().all(|time| time.as_ref().is_some_and(|time| time.ends_with('Z'))), "{first:?}");

    lab.lose();
    lab.losses.tell_new(|| {});
    let second = told(directory.path(), 2).remove(1);
    let total = lab.dropped();
    assert_eq!(second.numbers, [total - lost, 1000 * (total - lost), total, lost + 1, total].map(Some));
}

#[test]
fn rule_19_what_could_not_be_told_is_in_the_next_record() {
    let directory = tempfile::tempdir().unwrap();
    let mut lab = Lab::open(directory.path());
    lab.lose();
    // A closed log takes no record.
    let closed = tempfile::tempdir().unwrap();
    let elsewhere = Spool::open(closed.path(), Options::default()).unwrap();
    let own = std::mem::replace(&mut lab.losses.own, open(&elsewhere, &LogOptions::default()).unwrap());
    elsewhere.close().unwrap();
    lab.losses.tell_new(|| panic!("nothing was told"));
    lab.losses.own = own;
    lab.lose();
    lab.losses.tell_new(|| {});
    let told = told(directory.path(), 1);
    assert_eq!((told.len(), told[0].count()), (1, lab.dropped()));
}

#[test]
fn rule_19_the_losses_of_self_are_only_counted() {
    let directory = tempfile::tempdir().unwrap();
    let mut lab = Lab::open(directory.path());
    let own = lab.losses.own.clone();
    drop(own.cursor("reader", Start::Oldest, Need::Optional).unwrap());
    let large = Bytes::from(vec![7; 1 << 20]);
    for _ in 0..20 {
        own.append(200, large.clone(), 1).unwrap().wait().unwrap();
    }
    assert!(!own.losses().unwrap().is_empty(), "`self` dropped its oldest");
    lab.losses.tell_new(|| panic!("it told of itself"));
}

/// Not a test of its own: what the killed process does.
#[test]
#[ignore = "performed by other tests: rule_19_a_kill_between_the_record_and_that_it_was_told_tells_twice"]
fn child() {
    let directory = std::env::var(DIRECTORY).expect("set by the test that starts this one");
    let mut lab = Lab::open(Path::new(&directory));
    lab.lose();
    let lost = lab.dropped();
    lab.losses.tell_new(|| {
        std::io::stdout().lock().write_all(format!("\nbetween {lost}\n").as_bytes()).unwrap();
        loop {
            std::thread::park();
        }
    });
}

#[test]
fn rule_19_a_kill_between_the_record_and_that_it_was_told_tells_twice() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "pipeline::losses::tests::child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let lost = lines.find_map(|line| line.strip_prefix("between ").map(|lost| lost.parse::<i64>().unwrap()));
    child.kill().unwrap();
    child.wait().unwrap();
    let lost = lost.expect("the child came between the two");

    let mut lab = Lab::open(directory.path());
    assert_eq!(lab.dropped(), lost, "it is counted");
    assert_eq!(told(directory.path(), 1).len(), 1, "the record was durable");
    lab.losses.tell_new(|| {});
    lab.losses.tell_new(|| panic!("it was told"));
    let told = told(directory.path(), 2);
    assert_eq!(told.len(), 2);
    assert_eq!(told[0], told[1], "the same loss: its total tells that it is no other");
    assert_eq!(told[0].count(), lost);
}
