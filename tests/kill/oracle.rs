//! What was issued, what was acknowledged, what arrived. It stands outside the agent and is never killed.

use std::sync::{Mutex, MutexGuard};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;

use crate::long_run::Tally;

/// The attribute that carries a record's id.
const ID: &str = "test.id";
const BODY_BYTES_MIN: u64 = 10;
const BODY_BYTES_MAX: u64 = 1_500;

/// The sets. Ids are given from 0 without gaps, so a set is a column.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    records: Mutex<Records>,
}

#[derive(Debug, Default, Clone)]
struct Records {
    bytes: Vec<u64>,
    acked: Vec<bool>,
    delivered: Vec<u32>,
    invented: Vec<String>,
    refused_as_full: u64,
    told_lost: u64,
}

/// The figures of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Records handed to the agent, whatever it answered.
    pub(crate) issued: usize,
    /// Records that the agent acknowledged.
    pub(crate) acked: usize,
    /// Distinct records that arrived.
    pub(crate) delivered: usize,
    /// Arrivals beyond the first of a record.
    pub(crate) duplicated: usize,
    /// Arrived although never acknowledged, as the kill came between disk and answer.
    pub(crate) delivered_unacked: usize,
    /// Acknowledged and not arrived.
    pub(crate) lost: usize,
    /// Arrivals that nobody issued, or with other content.
    pub(crate) invented: usize,
    /// Records that the agent's own records say are lost.
    pub(crate) told_lost: u64,
}

/// What was acknowledged at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Acked(Vec<bool>);

/// What a log still owes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Found {
    /// Records that the exporter has to deliver.
    pub(crate) pending: usize,
    /// Acknowledged records that arrived nowhere yet: this log alone holds them.
    pub(crate) owed: usize,
}

impl Oracle {
    /// The next request, of `count` new records.
    pub(crate) fn issue(&self, count: usize) -> (Vec<u64>, ExportLogsServiceRequest) {
        let mut records = self.lock();
        let first = records.acked.len();
        records.acked.resize(first + count, false);
        records.delivered.resize(first + count, 0);
        let ids: Vec<u64> = (first..first + count).map(|id| id as u64).collect();
        let new: Vec<LogRecord> = ids.iter().map(|id| record(*id)).collect();
        records.bytes.extend(new.iter().map(|record| record.encoded_len() as u64));
        (ids, request(new))
    }

    /// The agent answered success for these.
    pub(crate) fn acked(&self, ids: &[u64]) {
        let mut records = self.lock();
        for id in ids {
            records.acked[index(*id)] = true;
        }
    }

    /// The agent refused a request for want of room.
    pub(crate) fn refused(&self) {
        self.lock().refused_as_full += 1;
    }

    /// Requests that the agent refused for want of room.
    pub(crate) fn refused_as_full(&self) -> u64 {
        self.lock().refused_as_full
    }

    /// These arrived at the backend.
    pub(crate) fn delivered(&self, request: &ExportLogsServiceRequest) {
        let mut records = self.lock();
        for found in records_of(request) {
            match (records.recognise(found), told_lost(found)) {
                (Some(id), _) => records.delivered[index(id)] += 1,
                (None, Some(count)) => records.told_lost += count,
                (None, None) => records.invented.push(format!("{found:?}")),
            }
        }
    }

    /// Compares what a log would give its exporter with what it owes: each acknowledged record that has not arrived.
    ///
    /// # Errors
    /// Names records that are missing, invented or there twice.
    pub(crate) fn compare(&self, pending: &[ExportLogsServiceRequest]) -> Result<Found, String> {
        let records = self.lock();
        let mut held = vec![false; records.acked.len()];
        for found in pending.iter().flat_map(records_of) {
            let id = records.recognise(found).ok_or_else(|| format!("invented: {found:?}"))?;
            if std::mem::replace(&mut held[index(id)], true) {
                return Err(format!("record {id} is in the log twice"));
            }
        }
        let owed = |id: &usize| records.acked[*id] && records.delivered[*id] == 0;
        let lost: Vec<usize> = (0..held.len()).filter(owed).filter(|id| !held[*id]).collect();
        if !lost.is_empty() {
            let first = &lost[..lost.len().min(10)];
            return Err(format!("{} acknowledged records are lost, first {first:?}", lost.len()));
        }
        let pending = held.iter().filter(|held| **held).count();
        Ok(Found { pending, owed: (0..held.len()).filter(owed).count() })
    }

    /// Which records are acknowledged now.
    pub(crate) fn acked_now(&self) -> Acked {
        Acked(self.lock().acked.clone())
    }

    /// This oracle, but asking only for what was acknowledged then.
    pub(crate) fn asking_for(&self, then: &Acked) -> Self {
        let mut records = self.lock().clone();
        let issued = records.acked.len();
        records.acked.clone_from(&then.0);
        records.acked.resize(issued, false);
        Self { records: Mutex::new(records) }
    }

    /// Whether all of these arrived.
    pub(crate) fn all_delivered(&self, ids: &[u64]) -> bool {
        let records = self.lock();
        ids.iter().all(|id| records.delivered[index(*id)] > 0)
    }

    /// The first records that arrived without having been issued.
    pub(crate) fn inventions(&self) -> Vec<String> {
        self.lock().invented.iter().take(3).cloned().collect()
    }

    /// The first ids that were acknowledged and have not arrived.
    pub(crate) fn missing(&self) -> Vec<usize> {
        let records = self.lock();
        let missing = |id: &usize| records.acked[*id] && records.delivered[*id] == 0;
        (0..records.acked.len()).filter(missing).take(10).collect()
    }

    /// Bytes of what was acknowledged and has not arrived.
    pub(crate) fn owed_bytes(&self) -> u64 {
        let records = self.lock();
        let owed = |id: &usize| records.acked[*id] && records.delivered[*id] == 0;
        (0..records.acked.len()).filter(owed).map(|id| records.bytes[id]).sum()
    }

    /// Counts the sets.
    pub(crate) fn figures(&self) -> Figures {
        let records = self.lock();
        let both = || records.acked.iter().zip(&records.delivered);
        Figures {
            issued: records.acked.len(),
            acked: records.acked.iter().filter(|acked| **acked).count(),
            delivered: records.delivered.iter().filter(|times| **times > 0).count(),
            duplicated: records.delivered.iter().map(|times| times.saturating_sub(1) as usize).sum(),
            delivered_unacked: both().filter(|(acked, times)| !**acked && **times > 0).count(),
            lost: both().filter(|(acked, times)| **acked && **times == 0).count(),
            invented: records.invented.len(),
            told_lost: records.told_lost,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap()
    }
}

impl Records {
    /// The id of a record that was issued with exactly this content.
    fn recognise(&self, found: &LogRecord) -> Option<u64> {
        id_of(found).filter(|id| index(*id) < self.delivered.len() && *found == record(*id))
    }
}

fn records_of(request: &ExportLogsServiceRequest) -> impl Iterator<Item = &LogRecord> {
    request.resource_logs.iter().flat_map(|resource| &resource.scope_logs).flat_map(|scope| &scope.log_records)
}

impl Figures {
    /// Adds them to the figures of a run.
    pub(crate) fn count(&self, tally: &mut Tally) {
        let Self { issued, acked, delivered, duplicated, delivered_unacked, lost, invented, told_lost } = *self;
        tally.count("told_lost", told_lost);
        let named = [
            ("issued", issued),
            ("acked", acked),
            ("delivered", delivered),
            ("delivered_without_ack", delivered_unacked),
            ("duplicated", duplicated),
            ("lost", lost),
            ("invented", invented),
        ];
        for (name, count) in named {
            tally.count(name, count as u64);
        }
    }
}

fn index(id: u64) -> usize {
    usize::try_from(id).unwrap_or(usize::MAX)
}

/// Everything in a record is a function of its id, so that a changed one shows.
fn record(id: u64) -> LogRecord {
    let mut noise = fastrand::Rng::with_seed(id);
    let length = noise.u64(BODY_BYTES_MIN..=BODY_BYTES_MAX);
    let body: String = (0..length).map(|_| noise.alphanumeric()).collect();
    LogRecord {
        time_unix_nano: noise.u64(..),
        severity_number: 9,
        body: Some(AnyValue { value: Some(Value::StringValue(body)) }),
        attributes: vec![KeyValue {
            key: ID.to_owned(),
            value: Some(AnyValue { value: Some(Value::IntValue(id.cast_signed())) }),
            ..KeyValue::default()
        }],
        ..LogRecord::default()
    }
}

fn request(log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope = ScopeLogs { log_records, ..ScopeLogs::default() };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }],
    }
}

fn id_of(record: &LogRecord) -> Option<u64> {
    number(record, ID)
}

/// How many records a `collector.loss` tells of: none where it tells of bytes, as of a write that a kill tore.
fn told_lost(record: &LogRecord) -> Option<u64> {
    (record.event_name == "collector.loss").then(|| number(record, "collector.loss.count").unwrap_or(0))
}

fn number(record: &LogRecord, attribute: &str) -> Option<u64> {
    let value = record.attributes.iter().find(|a| a.key == attribute)?.value.as_ref()?;
    match value.value {
        Some(Value::IntValue(number)) => u64::try_from(number).ok(),
        _ => None,
    }
}
