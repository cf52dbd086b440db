use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::*;
use crate::otlp::Signal;
use crate::otlp::record::Request;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn render(renderer: Renderer, record: LogRecord) -> String {
    let scope = InstrumentationScope { name: "tidegate.kernel".into(), version: "1".into(), ..Default::default() };
    let scope_logs = vec![ScopeLogs { scope: Some(scope), log_records: vec![record], schema_url: String::new() }];
    let resource = Resource { attributes: vec![text("host.name", "h")], ..Default::default() };
    let resource_logs = vec![ResourceLogs { resource: Some(resource), scope_logs, schema_url: String::new() }];
    let payload = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    let request = Request::decode(Signal::Logs, &payload).unwrap();
    let mut out = String::new();
    request.records().iter().for_each(|record| renderer.write(record, &mut out));
    out
}

fn crash() -> LogRecord {
    LogRecord {
        time_unix_nano: 1_544_712_660_300_000_001,
        severity_number: 17,
        body: Some(AnyValue { value: Some(Value::StringValue("bash[42] killed by SIGSEGV".into())) }),
        attributes: vec![
            text("log.record.uid", "01J0"),
            attribute("process.pid", Value::IntValue(42)),
            text("process.executable.path", "/opt/my app"),
        ],
        event_name: "kernel.process.crash".into(),
        ..Default::default()
    }
}

#[test]
fn a_brief_line_says_when_how_bad_what_and_who() {
    assert_eq!(
        render(Renderer::new(Detail::Brief, false), crash()),
        "2018-12-13T14:51:00.300Z ERROR kernel.process.crash bash[42] killed by SIGSEGV \
         process.pid=42 process.executable.path=\"/opt/my app\"\n"
    );
}

#[test]
fn a_line_has_every_attribute() {
    let line = render(Renderer::new(Detail::Line, false), crash());
    assert!(line.contains(" process.pid=42 "), "{line}");
    assert!(line.ends_with(" log.record.uid=01J0\n"), "what tells nothing stands last: {line}");
}

#[test]
fn full_detail_has_resource_and_scope_before_the_record_and_every_attribute_on_a_line_of_its_own() {
    assert_eq!(
        render(Renderer::new(Detail::Full, false), crash()),
        "resource\n    host.name=h\nscope tidegate.kernel 1\n\
         2018-12-13T14:51:00.300Z ERROR kernel.process.crash bash[42] killed by SIGSEGV\n    \
         log.record.uid=01J0\n    process.pid=42\n    process.executable.path=\"/opt/my app\"\n"
    );
}

#[test]
fn what_a_terminal_would_obey_is_escaped_everywhere() {
    let evil = "\u{1b}]0;owned\u{7}\r\n\u{9b}31m\u{202e}\u{2066}";
    let record = LogRecord {
        severity_text: evil.into(),
        body: Some(AnyValue { value: Some(Value::StringValue(evil.into())) }),
        attributes: vec![text(evil, evil)],
        event_name: evil.into(),
        ..Default::default()
    };
    for detail in [Detail::Brief, Detail::Line, Detail::Full] {
        let lines = render(Renderer::new(detail, false), record.clone());
        let shown: String = lines.chars().filter(|c| *c != '\n').collect();
        assert!(!shown.contains(|c: char| c.is_control() || is_invisible(c)), "{lines:?}");
        assert!(lines.contains(r"\u{1b}]0;owned\u{7}\r\n\u{9b}31m\u{202e}\u{2066}"), "{lines}");
    }
    let brief = render(Renderer::new(Detail::Brief, false), record);
    assert_eq!(brief.matches('\n').count(), 1, "{brief}");
}

#[test]
fn colours_are_written_only_when_asked_for() {
    let plain = render(Renderer::new(Detail::Brief, false), crash());
    let styled = render(Renderer::new(Detail::Brief, true), crash());
    assert!(!plain.contains('\u{1b}'));
    assert!(styled.contains("\u{1b}[31mERROR\u{1b}[0m"), "{styled:?}");
    assert_eq!(anstream::adapter::strip_str(&styled).to_string(), plain);
}

#[test]
fn a_brief_line_stays_brief() {
    let mut record = crash();
    record.attributes = (0..20).map(|n| attribute(&format!("a.{n}"), Value::IntValue(n))).collect();
    record.attributes[0] = text("a.0", &"z".repeat(10_000));
    let line = render(Renderer::new(Detail::Brief, false), record);
    assert!(line.ends_with(" a.7=7 +12\n"), "{line}");
    assert!(line.len() < 400, "{}", line.len());
    assert!(line.contains("zzz… a.1=1"), "{line}");
}

#[test]
fn a_long_name_is_cut_on_a_brief_line_and_nowhere_else() {
    let record = LogRecord { event_name: "n".repeat(1000), ..Default::default() };
    let brief = render(Renderer::new(Detail::Brief, false), record.clone());
    assert_eq!(brief, format!("- -     {}…\n", "n".repeat(120)));
    let line = render(Renderer::new(Detail::Line, false), record);
    assert_eq!(line, format!("- -     {}\n", "n".repeat(1000)));
}
