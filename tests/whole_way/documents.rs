//! What is in OpenSearch, as the gateway wrote it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use serde_json::Value;

/// Every document of the index.
pub(crate) struct Documents(pub(crate) Vec<Value>);

/// One event of the kernel's.
pub(crate) struct Event<'a>(&'a Value);

/// How far a kernel timestamp may lie outside what the test saw: the boot clock is converted.
const SLACK_NS: i128 = 20_000_000;

impl Documents {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Every `test.sequence` from `first` up to `end` is there; how many documents are beyond the first of each.
    pub(crate) fn assert_sequences(&self, first: i64, end: i64) -> usize {
        let (distinct, duplicates) = self.sequences();
        let missing: Vec<i64> = (first..end).filter(|sequence| !distinct.contains(sequence)).collect();
        let shown = &missing[..missing.len().min(10)];
        assert!(missing.is_empty(), "{} acknowledged records are not in OpenSearch, first {shown:?}", missing.len());
        let invented: Vec<&i64> = distinct.iter().filter(|s| !(first..end).contains(*s)).collect();
        assert!(invented.is_empty(), "sequences that nobody sent: {invented:?}");
        duplicates
    }

    /// The distinct values of `test.sequence`, and how many documents are beyond the first of each.
    pub(crate) fn sequences(&self) -> (BTreeSet<i64>, usize) {
        let all: Vec<i64> = self.0.iter().filter_map(|d| d["attributes"]["test.sequence"].as_i64()).collect();
        let distinct: BTreeSet<i64> = all.iter().copied().collect();
        let duplicates = all.len() - distinct.len();
        (distinct, duplicates)
    }

    /// The records that `collector.loss` documents name as lost, each told once.
    pub(crate) fn told_lost(&self) -> u64 {
        let told = self.0.iter().filter(|d| name(d) == Some("collector.loss")).map(|d| &d["attributes"]);
        let counts: BTreeMap<&str, u64> = told
            .map(|a| (a["log.record.uid"].as_str().unwrap_or(""), a["collector.loss.count"].as_u64().unwrap_or(0)))
            .collect();
        counts.values().sum()
    }

    /// The first record of this event with this attribute value; its time must lie in the window, its identity be its own.
    pub(crate) fn one(&self, event: &str, attribute: &str, value: &Value, window: &RangeInclusive<i128>) -> Event<'_> {
        let own = |d: &&Value| name(d) == Some(event) && d["attributes"][attribute] == *value && in_window(d, window);
        let mut found: Vec<&Value> = self.0.iter().filter(own).collect();
        found.sort_by_key(|d| time_ns(d));
        let document = found.first().copied().unwrap_or_else(|| {
            let others: Vec<&Value> = self.0.iter().filter(|d| name(d) == Some(event)).collect();
            panic!("no {event} with {attribute} = {value} in the window; of this event: {others:#?}")
        });
        let event = Event(document);
        event.is_set("log.record.uid").is_set("kernel.hook.name").is_set("kernel.hook.sequence");
        for resource in ["host.name", "host.id", "kernel.boot_id", "kernel.release", "service.version"] {
            assert!(!document["resource"][resource].is_null(), "no {resource}: {document:#}");
        }
        assert_eq!(document["resource"]["service.name"], "tidegate", "{document:#}");
        event
    }

    /// How many documents and how many distinct `log.record.uid` of each event.
    pub(crate) fn events(&self) -> String {
        let mut events: BTreeMap<&str, (usize, BTreeSet<&str>)> = BTreeMap::new();
        for document in &self.0 {
            if let (Some(name), Some(uid)) = (name(document), document["attributes"]["log.record.uid"].as_str()) {
                let (documents, uids) = events.entry(name).or_default();
                *documents += 1;
                uids.insert(uid);
            }
        }
        let told = events.iter().map(|(name, (all, uids))| format!("{name} {} ({} documents)", uids.len(), all));
        told.collect::<Vec<_>>().join(", ")
    }

    /// Prints one document of each of these events.
    pub(crate) fn show_one_of_each(&self, events: &[&str]) {
        for event in events {
            let document = self.0.iter().find(|d| name(d) == Some(event));
            println!("document of {event}:\n{:#}", document.unwrap_or_else(|| panic!("no {event}")));
        }
    }
}

impl Event<'_> {
    pub(crate) fn severity(&self, number: i64) -> &Self {
        assert_eq!(self.0["severity"]["number"], number, "{:#}", self.0);
        self
    }

    pub(crate) fn is(&self, attribute: &str, value: impl Into<Value>) -> &Self {
        assert_eq!(self.0["attributes"][attribute], value.into(), "{attribute} of {:#}", self.0);
        self
    }

    pub(crate) fn is_set(&self, attribute: &str) -> &Self {
        assert!(!self.0["attributes"][attribute].is_null(), "no {attribute}: {:#}", self.0);
        self
    }
}

fn name(document: &Value) -> Option<&str> {
    document["attributes"]["event.name"].as_str()
}

fn time_ns(document: &Value) -> i128 {
    let time = document["@timestamp"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    time.unwrap_or_else(|| panic!("no @timestamp: {document:#}")).as_nanosecond()
}

fn in_window(document: &Value, window: &RangeInclusive<i128>) -> bool {
    (window.start() - SLACK_NS..=window.end() + SLACK_NS).contains(&time_ns(document))
}
