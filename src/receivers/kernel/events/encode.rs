//! Events to the bytes of an OTLP export request.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::catalogue::{SCHEMA_URL, VERSION};
use super::event::Event;

/// Makes one request of many events.
#[derive(Debug)]
pub(crate) struct Encoder {
    resource: Resource,
    event_name_attribute: bool,
}

impl Encoder {
    /// An encoder that writes this resource, and `event.name` as an attribute too where that is asked for.
    pub(crate) fn new(resource: super::event::Attributes, event_name_attribute: bool) -> Self {
        Self { resource: Resource { attributes: resource.into_inner(), ..Resource::default() }, event_name_attribute }
    }

    /// The request's bytes. Events of one scope keep their order.
    pub(crate) fn encode(&self, events: Vec<Event>, observed_unix_nanos: u64) -> Bytes {
        let mut scopes: Vec<(&'static str, Vec<LogRecord>)> = Vec::new();
        for event in events {
            let scope = event.kind.scope();
            let record = self.record(event, observed_unix_nanos);
            match scopes.iter_mut().find(|(name, _)| *name == scope) {
                Some((_, records)) => records.push(record),
                None => scopes.push((scope, vec![record])),
            }
        }
        let scope_logs = scopes.into_iter().map(|(name, log_records)| scope(name, log_records)).collect();
        let resource_logs =
            ResourceLogs { resource: Some(self.resource.clone()), scope_logs, schema_url: SCHEMA_URL.to_owned() };
        ExportLogsServiceRequest { resource_logs: vec![resource_logs] }.encode_to_vec().into()
    }

    fn record(&self, event: Event, observed_unix_nanos: u64) -> LogRecord {
        let mut attributes = event.attributes;
        if self.event_name_attribute {
            attributes.text("event.name", event.kind.name().to_owned());
        }
        LogRecord {
            time_unix_nano: event.unix_nanos,
            observed_time_unix_nano: observed_unix_nanos,
            severity_number: event.severity as i32,
            body: Some(AnyValue { value: Some(Value::StringValue(event.body)) }),
            attributes: attributes.into_inner(),
            event_name: event.kind.name().to_owned(),
            ..LogRecord::default()
        }
    }
}

fn scope(name: &str, log_records: Vec<LogRecord>) -> ScopeLogs {
    let scope =
        InstrumentationScope { name: name.to_owned(), version: VERSION.to_owned(), ..InstrumentationScope::default() };
    ScopeLogs { scope: Some(scope), log_records, schema_url: SCHEMA_URL.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receivers::kernel::events::catalogue::{Kind, Severity};
    use crate::receivers::kernel::events::event::Attributes;

    fn event(kind: Kind, body: &str) -> Event {
        let attributes = Attributes::default();
        Event { kind, severity: Severity::Error, unix_nanos: 5, body: body.to_owned(), attributes }
    }

    fn encode(event_name_attribute: bool, events: Vec<Event>) -> ResourceLogs {
        let bytes = Encoder::new(Attributes::default(), event_name_attribute).encode(events, 7);
        ExportLogsServiceRequest::decode(bytes).unwrap().resource_logs.remove(0)
    }

    #[test]
    fn events_are_grouped_by_scope_in_their_order() {
        let events = vec![event(Kind::OomKill, "a"), event(Kind::Loss, "b"), event(Kind::ProcessCrash, "c")];
        let logs = encode(false, events);
        let names: Vec<_> = logs.scope_logs.iter().map(|s| s.scope.as_ref().unwrap().name.as_str()).collect();
        assert_eq!(names, ["tidegate.kernel", "tidegate.agent"]);
        for scope in &logs.scope_logs {
            assert_eq!(
                (scope.scope.as_ref().unwrap().version.as_str(), scope.schema_url.as_str()),
                (VERSION, SCHEMA_URL)
            );
        }
        let records = &logs.scope_logs[0].log_records;
        let names: Vec<_> = records.iter().map(|record| record.event_name.as_str()).collect();
        assert_eq!(names, ["kernel.oom.kill", "kernel.process.crash"]);
        assert_eq!((records[0].time_unix_nano, records[0].observed_time_unix_nano), (5, 7));
        assert_eq!((records[0].severity_number, records[0].severity_text.as_str()), (17, ""));
    }

    #[test]
    fn the_name_is_an_attribute_only_where_it_is_asked_for() {
        let attributes =
            |switch| encode(switch, vec![event(Kind::OomKill, "a")]).scope_logs[0].log_records[0].attributes.clone();
        assert!(attributes(false).is_empty());
        assert_eq!(attributes(true)[0].key, "event.name");
    }
}
