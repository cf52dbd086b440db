//! What was issued, what was acknowledged, what arrived. It stands outside the agent and is never killed.

use std::fmt;
use std::sync::{Mutex, MutexGuard};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};

/// The attribute that carries a record's id.
const ID: &str = "test.id";
const BODY_BYTES_MIN: u64 = 10;
const BODY_BYTES_MAX: u64 = 1_500;

/// The sets. Ids are given from 0 without gaps, so a set is a column.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    records: Mutex<Records>,
}

#[derive(Debug, Default)]
struct Records {
    acked: Vec<bool>,
    delivered: Vec<u32>,
    invented: Vec<String>,
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
}

impl Oracle {
    /// The next request, of `count` new records.
    pub(crate) fn issue(&self, count: usize) -> (Vec<u64>, ExportLogsServiceRequest) {
        let mut records = self.lock();
        let first = records.acked.len();
        records.acked.resize(first + count, false);
        records.delivered.resize(first + count, 0);
        let ids: Vec<u64> = (first..first + count).map(|id| id as u64).collect();
        let request = request(ids.iter().map(|id| record(*id)).collect());
        (ids, request)
    }

    /// The agent answered success for these.
    pub(crate) fn acked(&self, ids: &[u64]) {
        let mut records = self.lock();
        for id in ids {
            records.acked[index(*id)] = true;
        }
    }

    /// These arrived at the backend.
    pub(crate) fn delivered(&self, request: &ExportLogsServiceRequest) {
        let mut records = self.lock();
        let scopes = request.resource_logs.iter().flat_map(|r| &r.scope_logs);
        for found in scopes.flat_map(|s| &s.log_records) {
            match id_of(found).filter(|id| index(*id) < records.delivered.len() && *found == record(*id)) {
                Some(id) => records.delivered[index(id)] += 1,
                None => records.invented.push(format!("{found:?}")),
            }
        }
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
        }
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { issued, acked, delivered, duplicated, delivered_unacked, lost, invented } = self;
        write!(f, "issued {issued}, acked {acked}, delivered {delivered}, duplicated {duplicated}, ")?;
        write!(f, "delivered without ack {delivered_unacked}, lost {lost}, invented {invented}")
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
    let value = record.attributes.iter().find(|a| a.key == ID)?.value.as_ref()?;
    match value.value {
        Some(Value::IntValue(id)) => u64::try_from(id).ok(),
        _ => None,
    }
}
