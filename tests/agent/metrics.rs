//! What a Prometheus scrapes.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::time::Duration;

use prost::Message as _;

use crate::backend::{Backend, Mood, nobody};
use crate::client::{Client, bodies, request, send};
use crate::http::{connect, get, post};
use crate::overflow::{queued, send_within};
use crate::stage::{PATIENCE, Running, Stage, to};
use crate::support::wait_for;

/// One scrape: family name to type and samples, samples by their labels.
type Scrape = BTreeMap<String, Family>;

#[derive(Debug)]
struct Family {
    kind: String,
    samples: BTreeMap<BTreeMap<String, String>, f64>,
}

/// Reads the text format 0.0.4, and takes nothing that is not in it.
fn parse(text: &str) -> Scrape {
    assert!(text.ends_with('\n'), "the last line has no end");
    let (mut scrape, mut open, mut help) = (Scrape::new(), String::new(), String::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, doc) = rest.split_once(' ').expect(line);
            assert!(is_name(name) && doc.ends_with('.'), "{line}");
            help = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert_eq!(name, help, "TYPE without its HELP");
            assert!(["counter", "gauge", "histogram", "untyped"].contains(&kind), "{line}");
            let family = Family { kind: kind.to_owned(), samples: BTreeMap::new() };
            assert!(scrape.insert(name.to_owned(), family).is_none(), "{name} comes twice");
            open = name.to_owned();
        } else {
            let (name, labels, value) = sample(line);
            let family = scrape.get_mut(&open).expect(line);
            let parts: &[&str] = if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            let is_of_family = parts.iter().any(|part| name.strip_suffix(part) == Some(open.as_str()));
            assert!(is_of_family, "a sample outside its family: {line}");
            // The samples of a histogram differ in their names too.
            let labels =
                if name == open { labels } else { labels.into_iter().chain([("".into(), name.into())]).collect() };
            assert!(family.samples.insert(labels, value).is_none(), "twice: {line}");
        }
    }
    scrape
}

fn sample(line: &str) -> (&str, BTreeMap<String, String>, f64) {
    let end = line.find(['{', ' ']).expect(line);
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").expect(line);
            assert!(is_name(label) && !label.contains(':'), "{line}");
            let (value, after) = quoted(after, line);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            rest = match after.strip_prefix(',') {
                Some(more) => more,
                None => break rest = after.strip_prefix('}').expect(line),
            };
        }
    }
    let value = rest.strip_prefix(' ').expect(line);
    assert!(!value.contains(' '), "{line}");
    (name, labels, value.parse().expect(line))
}

/// A label value up to its quote, and what follows.
fn quoted<'a>(text: &'a str, line: &str) -> (String, &'a str) {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next().expect(line).1 {
                'n' => value.push('\n'),
                c @ ('\\' | '"') => value.push(c),
                _ => panic!("an escape that is none: {line}"),
            },
            c => value.push(c),
        }
    }
    panic!("a quote is open: {line}")
}

fn is_name(name: &str) -> bool {
    let rest = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':');
    rest && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

/// The value of the sample with these labels.
#[track_caller]
fn value(scrape: &Scrape, name: &str, labels: &[(&str, &str)]) -> f64 {
    let family = scrape.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", scrape.keys()));
    let has = |sample: &BTreeMap<String, String>| labels.iter().all(|(k, v)| sample.get(*k).is_some_and(|w| w == v));
    let found: Vec<f64> = family.samples.iter().filter(|(sample, _)| has(sample)).map(|(_, value)| *value).collect();
    assert_eq!(found.len(), 1, "{name} {labels:?} in {family:?}");
    found[0]
}

#[test]
fn a_scrape_is_prometheus_text_and_counts_what_came_went_and_waits() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Take);
    let running = stage.start(&[("otlp/good", to(backend.address)), ("otlp/dead", to(nobody()))]);
    send(running.grpc, &bodies("good", 5));
    Client::of(running.grpc).send(&bodies("many", 10)).unwrap();
    assert_eq!(post(running.http, b"\xff\xff").status, 400);
    backend.wait_for(&bodies("many", 10));

    let scrape = || {
        let answer = get(running.metrics, "/metrics");
        assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
        parse(&answer.text())
    };
    let exporter = |id: &'static str| [("exporter", id), ("pipeline", "logs"), ("log", "logs")];
    let good = exporter("otlp/good");
    let settled = || Some(scrape()).filter(|scrape| value(scrape, "tidegate_exporter_sent_items_total", &good) == 15.0);
    let settled = wait_for(PATIENCE, settled).expect("what was sent is counted");
    assert_eq!(received(&settled, "grpc"), [15.0, 0.0, 0.0]);
    assert_eq!(received(&settled, "http"), [0.0, 0.0, 0.0]);
    let refused = |protocol, reason| [("receiver", "otlp"), ("protocol", protocol), ("reason", reason)];
    let refused = |p, r| value(&settled, "tidegate_receiver_refused_requests_total", &refused(p, r));
    assert_eq!([refused("http", "malformed"), refused("grpc", "malformed"), refused("http", "busy")], [1.0, 0.0, 0.0]);
    assert_eq!(value(&settled, "tidegate_cursor_pending_items", &exporter("otlp/dead")), 15.0);
    assert_eq!(value(&settled, "tidegate_exporter_sent_items_total", &exporter("otlp/dead")), 0.0);
    assert!(value(&settled, "tidegate_exporter_failed_requests_total", &exporter("otlp/dead")) >= 1.0);
    assert_eq!(value(&settled, "tidegate_log_accepted_items_total", &[("log", "logs")]), 15.0);
    assert_eq!(value(&settled, "otelcol_exporter_sent_log_records", &[("exporter", "otlp/good")]), 15.0);
    assert_eq!(
        value(&settled, "otelcol_exporter_queue_size", &[("exporter", "otlp/dead"), ("data_type", "logs")]),
        15.0
    );
    let capacity = [("exporter", "otlp/dead"), ("data_type", "logs")];
    assert_eq!(value(&settled, "otelcol_exporter_queue_capacity", &capacity), f64::INFINITY);
    assert_eq!(value(&settled, "otelcol_exporter_enqueue_failed_log_records", &[("exporter", "otlp/dead")]), 0.0);
    assert!(value(&settled, "tidegate_cursor_lag_seconds", &exporter("otlp/dead")) > 0.0);
    // One word of few: the error's text names ports and times, and would be a series for each.
    let [id, pipeline, log] = exporter("otlp/dead");
    assert!(value(&settled, "tidegate_exporter_last_error", &[id, pipeline, log, ("kind", "retry")]) > 1.7e9);
    let ledger = |what: &str| {
        value(
            &settled,
            &format!("tidegate_cursor_{what}_items_total"),
            &[("log", "logs"), ("cursor", "logs:otlp/good")],
        )
    };
    assert_eq!([ledger("accepted"), ledger("delivered"), ledger("parked")], [15.0, 15.0, 0.0]);
    let [written, durable] = ["written", "durable"]
        .map(|what| value(&settled, &format!("tidegate_log_{what}_sequence"), &[("log", "logs")]));
    assert!(durable > 0.0 && durable <= written);
    let document = include_str!("../../docs/metrics.md");
    for (name, family) in &settled {
        assert!(family.samples.values().all(|value| *value >= 0.0), "{name}");
        let is_ours = name.starts_with("tidegate_");
        assert!(is_ours || name.starts_with("otelcol_"), "{name}");
        assert_eq!(family.kind == "counter", name.ends_with("_total"), "{name}");
        assert!(!is_ours || family.kind != "untyped", "{name}");
        let stem = ["_spans", "_metric_points"].iter().find_map(|unit| name.strip_suffix(unit));
        let name = stem.map_or(name.clone(), |stem| format!("{stem}_log_records"));
        assert!(document.contains(&format!("`{name}`")), "{name} is not in docs/metrics.md");
    }
    let syncs = &settled["tidegate_log_sync_seconds"].samples;
    let of = |part: &str| {
        let name = format!("tidegate_log_sync_seconds_{part}");
        let is_it = |labels: &BTreeMap<String, String>| labels[""] == name && labels["log"] == "logs";
        syncs.iter().filter(|(labels, _)| is_it(labels)).map(|(_, value)| *value).collect::<Vec<f64>>()
    };
    let (mut buckets, count) = (of("bucket"), of("count")[0]);
    buckets.sort_by(f64::total_cmp);
    assert!(count > 0.0 && of("sum")[0] > 0.0);
    assert_eq!((buckets.len(), buckets.last()), (15, Some(&count)), "the last bucket has them all");
}

/// Log records that were accepted, refused and failed by a transport of the receiver `otlp`, under the Collector's
/// names and labels.
fn received(scrape: &Scrape, transport: &str) -> [f64; 3] {
    let labels = [("receiver", "otlp"), ("transport", transport)];
    ["accepted", "refused", "failed"]
        .map(|what| value(scrape, &format!("otelcol_receiver_{what}_log_records"), &labels))
}

#[test]
fn a_receivers_counts_are_by_transport_and_go_on_over_a_reload() {
    let stage = Stage::new();
    let full = to(nobody()).replacen('{', "{ sending_queue: { sizer: items, queue_size: 3 },", 1);
    let running = stage.start(&[("otlp", full)]);
    let over_http =
        |running: &Running, count| post(running.http, &request(&bodies("http", count)).encode_to_vec()).status;
    assert_eq!(over_http(&running, 1), 200);
    send(running.grpc, &bodies("grpc", 2));
    assert_eq!(over_http(&running, 5), 503);
    running.agent.signal(rustix::process::Signal::HUP);
    running.agent.wait_said("reloaded in ", PATIENCE);
    let running = Running::listening(running.agent);
    Client::of(running.grpc).send(&bodies("refused", 4)).unwrap_err();
    let scrape = parse(&get(running.metrics, "/metrics").text());
    assert_eq!(received(&scrape, "grpc"), [2.0, 4.0, 0.0]);
    assert_eq!(received(&scrape, "http"), [1.0, 5.0, 0.0]);
}

#[test]
fn senders_that_hang_up_while_they_wait_for_room_are_counted() {
    let stage = Stage::new();
    let queue = "sizer: items, queue_size: 1, block_on_overflow: true";
    let running = stage.start(&[("otlp", queued(nobody(), queue))]);
    send(running.grpc, &["first"]);
    let body = request(&bodies("hung up", 3)).encode_to_vec();
    let head = "POST /v1/logs HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\n";
    let whole = [format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat();
    let cancelled = |scrape: &Scrape, protocol| {
        let labels = [("receiver", "otlp"), ("protocol", protocol), ("reason", "cancelled")];
        value(scrape, "tidegate_receiver_refused_requests_total", &labels)
    };
    // On a slow machine a sender may be gone before it came to wait: then another one is sent.
    let hang_up = || {
        let mut stream = connect(running.http);
        stream.write_all(&whole).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        assert!(stream.read(&mut [0]).is_err(), "it was answered");
        send_within(running.grpc, "hung up", Duration::from_millis(300)).unwrap_err();
        let scrape = parse(&get(running.metrics, "/metrics").text());
        (cancelled(&scrape, "http") > 0.0 && cancelled(&scrape, "grpc") > 0.0).then_some(())
    };
    wait_for(PATIENCE, hang_up).expect("those who hung up are counted");
    // Those of the last round may be noticed only now.
    let settled = || {
        let scrape = parse(&get(running.metrics, "/metrics").text());
        let [grpc, http] =
            ["grpc", "http"].map(|transport| (cancelled(&scrape, transport), received(&scrape, transport)));
        (grpc.1 == [1.0, grpc.0, 0.0] && http.1 == [0.0, 3.0 * http.0, 0.0]).then_some(())
    };
    wait_for(PATIENCE, settled).expect("their items are refused");
    let said = running.agent.stderr();
    assert!(said.contains("hung up while it waited for room"), "{said}");
}

#[test]
fn exporters_counts_go_on_over_a_reload() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Take);
    let running = stage.start(&[("otlp", to(backend.address))]);
    let labels = [("exporter", "otlp"), ("pipeline", "logs"), ("log", "logs")];
    let sent = |running: &Running, items: f64| {
        let scrape = || parse(&get(running.metrics, "/metrics").text());
        let settled =
            || Some(scrape()).filter(|scrape| value(scrape, "tidegate_exporter_sent_items_total", &labels) >= items);
        let scrape = wait_for(PATIENCE, settled).expect("the count goes on");
        assert_eq!(value(&scrape, "otelcol_exporter_sent_log_records", &[("exporter", "otlp")]), items);
    };
    send(running.grpc, &bodies("before", 5));
    sent(&running, 5.0);
    running.agent.signal(rustix::process::Signal::HUP);
    running.agent.wait_said("reloaded in ", PATIENCE);
    let running = Running::listening(running.agent);
    sent(&running, 5.0);
    send(running.grpc, &bodies("after", 3));
    sent(&running, 8.0);
}

#[test]
fn the_parser_of_this_test_takes_only_what_the_format_has() {
    let good = "# HELP a_b Help.\n# TYPE a_b counter\na_b{x=\"1\",y=\"q\\\"\\\\\"} 7\na_b 1\n";
    assert_eq!(value(&parse(good), "a_b", &[("y", "q\"\\")]), 7.0);
    for bad in [
        "# HELP a Help.\n# TYPE a counter\na 1",
        "# HELP a Help.\n# TYPE a counter\nb 1\n",
        "# HELP a Help.\n# TYPE a counter\na{x=1} 1\n",
        "# HELP a Help.\n# TYPE a counter\na{x=\"1} 1\n",
        "# HELP a Help.\n# TYPE a counter\na 1\na 1\n",
        "# TYPE a counter\na 1\n",
        "# HELP a Help.\n# TYPE a kounter\na 1\n",
        "# HELP a Help.\n# TYPE a counter\na one\n",
    ] {
        assert!(std::panic::catch_unwind(|| parse(bad)).is_err(), "{bad}");
    }
}
