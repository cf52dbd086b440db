use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser as _;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use serde_json::Value;

use super::*;
use crate::otlp::Signal;
use crate::spool::{From, Options, Spool};

#[derive(Debug, clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn args(text: &str) -> Args {
    Cli::try_parse_from(["tail"].into_iter().chain(text.split_whitespace())).unwrap().args
}

/// Writes records, named by event and time in seconds, as one frame.
fn append(spool: &Spool, log: &str, records: &[(&str, u64)]) -> u64 {
    let record = |(event, second): &(&str, u64)| LogRecord {
        event_name: (*event).into(),
        time_unix_nano: second * 1_000_000_000,
        ..Default::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: records.iter().map(record).collect(), ..Default::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..Default::default() }];
    let payload = Bytes::from(ExportLogsServiceRequest { resource_logs }.encode_to_vec());
    let items = u32::try_from(records.len()).unwrap();
    append_frame(spool, log, Signal::Logs.tag(), payload, items)
}

/// Returns when readers beside the owner see the frame, which is a little after its ack.
fn append_frame(spool: &Spool, log: &str, content: u8, payload: Bytes, items: u32) -> u64 {
    let sequence = spool.log(log).unwrap().append(content, payload, items).unwrap().wait().unwrap().sequence;
    let reader = Reader::open(spool.directory()).unwrap();
    while reader.read(log, From::Sequence(sequence)).unwrap().next().unwrap().is_none() {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    sequence
}

/// Something that happens while it waits for more.
type Later = Box<dyn FnOnce(&Spool)>;

struct Bench {
    dir: tempfile::TempDir,
    spool: Spool,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), Options::default()).unwrap();
        Self { dir, spool }
    }

    /// What `tidegate tail --output json` prints, as (log, event); `later` runs each time it waits for more.
    fn tail(&self, text: &str, later: Vec<Later>) -> Vec<(String, String)> {
        let lines = self.lines(text, later).unwrap();
        let text = |line: &Value, member: &str| line[member].as_str().unwrap_or_default().to_owned();
        lines.iter().map(|line| (text(line, "log"), text(line, "event_name"))).collect()
    }

    fn events(&self, text: &str) -> Vec<String> {
        self.tail(text, Vec::new()).into_iter().map(|(_, event)| event).collect()
    }

    fn lines(&self, text: &str, later: Vec<Later>) -> Result<Vec<Value>, Failure> {
        let args = args(text);
        let reader = Reader::open(self.dir.path()).unwrap();
        let show = Show { events: args.event.clone(), json: true, styled: false };
        let mut out = Vec::new();
        let mut later = VecDeque::from(later);
        let wait = || match later.pop_front() {
            Some(happens) => {
                happens(&self.spool);
                Ok(true)
            }
            None => Ok(false),
        };
        tail(&args, &reader, &show, &mut out, wait)?;
        Ok(String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }
}

#[test]
fn the_last_records_of_all_logs_are_merged_by_their_own_time() {
    let bench = Bench::new();
    append(&bench.spool, "kernel", &[("k1", 10), ("k4", 40), ("k5", 50)]);
    append(&bench.spool, "logs", &[("l2", 20), ("l3", 30)]);
    assert_eq!(bench.events(""), ["k1", "l2", "l3", "k4", "k5"]);
    assert_eq!(bench.events("-n 3"), ["l3", "k4", "k5"]);
    assert_eq!(bench.events("-n 0"), [""; 0]);
    assert_eq!(bench.events("--log logs"), ["l2", "l3"]);
}

#[test]
fn without_a_number_the_last_ten_are_shown() {
    let bench = Bench::new();
    for n in 0..15 {
        append(&bench.spool, "logs", &[("e", n)]);
    }
    assert_eq!(bench.events("").len(), 10);
    assert_eq!(bench.events("--from oldest").len(), 15);
}

#[test]
fn a_rare_event_is_found_far_back() {
    let bench = Bench::new();
    append(&bench.spool, "logs", &[("rare", 1)]);
    for n in 0..300 {
        append(&bench.spool, "logs", &[("common", n), ("common", n)]);
    }
    append(&bench.spool, "logs", &[("rare", 1000), ("other", 1000)]);
    assert_eq!(bench.events("-n 2 --event rare"), ["rare", "rare"]);
    assert_eq!(bench.events("-n 2 --event rare --event other"), ["rare", "other"]);
    assert_eq!(bench.events("-n 2 --event never"), [""; 0]);
}

#[test]
fn from_a_sequence_or_time_everything_after_it_is_shown() {
    let bench = Bench::new();
    append(&bench.spool, "logs", &[("a", 1)]);
    let second = append(&bench.spool, "logs", &[("b", 2)]);
    append(&bench.spool, "logs", &[("c", 3)]);
    assert_eq!(bench.events(&format!("--from {second}")), ["b", "c"]);
    assert_eq!(bench.events("--from 1h"), ["a", "b", "c"]);
    assert_eq!(bench.events("--from 2199-01-01T00:00:00Z"), [""; 0]);
    assert_eq!(bench.events("--from oldest -n 2"), ["b", "c"]);
}

#[test]
fn following_shows_what_comes_each_record_once_in_new_logs_too() {
    let bench = Bench::new();
    append(&bench.spool, "logs", &[("old", 1), ("one", 2)]);
    let mut later: Vec<Later> = vec![
        Box::new(|spool| {
            append(spool, "logs", &[("two", 3)]);
        }),
        Box::new(|spool| {
            append(spool, "kernel", &[("new log", 4)]);
        }),
    ];
    // A new log is looked for every few looks.
    later.extend((0..LOOKS_PER_LISTING).map(|_| Box::new(|_: &Spool| ()) as Later));
    later.push(Box::new(|spool| {
        append(spool, "kernel", &[("three", 5)]);
    }));
    let pair = |log: &str, event: &str| (log.to_owned(), event.to_owned());
    assert_eq!(
        bench.tail("-n 1", later),
        [pair("logs", "one"), pair("logs", "two"), pair("kernel", "new log"), pair("kernel", "three")]
    );
}

#[test]
fn an_unknown_log_is_an_error_that_names_the_known_ones() {
    let bench = Bench::new();
    append(&bench.spool, "kernel", &[("e", 1)]);
    let failure = bench.lines("--log kernle", Vec::new()).unwrap_err();
    assert_eq!(failure.message(), "no log kernle");
}

#[test]
fn a_frame_that_cannot_be_shown_hides_no_other() {
    let bench = Bench::new();
    append_frame(&bench.spool, "logs", 99, Bytes::from_static(b"?"), 1);
    append_frame(&bench.spool, "logs", Signal::Logs.tag(), Bytes::from_static(b"\x0a\xff"), 1);
    append(&bench.spool, "logs", &[("e", 1)]);
    assert_eq!(bench.events(""), ["e"]);
}

#[test]
fn every_member_of_a_record_says_where_it_stands() {
    let bench = Bench::new();
    append(&bench.spool, "kernel", &[("a", 1)]);
    let sequence = append(&bench.spool, "kernel", &[("b", 1), ("c", 2)]);
    let line = bench.lines("-n 1", Vec::new()).unwrap().remove(0);
    assert_eq!((&line["log"], &line["sequence"], &line["index"]), (&"kernel".into(), &sequence.into(), &1.into()));
}

#[test]
fn a_missing_directory_says_how_to_make_one() {
    let globals = Globals { data_dir: Some("/nonexistent/tidegate".into()), output: Output::Json };
    let failure = run(&args(""), &globals).unwrap_err();
    assert!(failure.message().contains("/nonexistent/tidegate"), "{failure:?}");
    assert!(format!("{failure:?}").contains("tidegate run"), "{failure:?}");
    assert!(!Path::new("/nonexistent").exists());
}

#[test]
fn origins_are_read_as_people_write_them() {
    let nanos = 1_778_112_709_000_000_000;
    assert_eq!("oldest".parse(), Ok(Origin::Oldest));
    assert_eq!("17".parse(), Ok(Origin::Sequence(17)));
    assert_eq!("2026-05-07T00:11:49Z".parse(), Ok(Origin::Time(nanos)));
    assert_eq!("2026-05-07T02:11:49+02:00".parse(), Ok(Origin::Time(nanos)));
    assert_eq!("2026-05-07 00:11:49".parse(), Ok(Origin::Time(nanos)));
    assert!(matches!("15m".parse(), Ok(Origin::Time(_))));
    assert!("yesterday".parse::<Origin>().unwrap_err().contains("15m"));
    assert!("1969-12-31T00:00:00Z".parse::<Origin>().unwrap_err().contains("1970"));
}
