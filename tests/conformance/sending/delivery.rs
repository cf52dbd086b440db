//! Connections, concurrency, several destinations.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message as _;

use super::{GRPC, HTTP, is_sent_again};
use crate::backend::{Backend, Say};
use crate::program::{PATIENCE, Program, Setup};
use crate::support::wait_for;
use crate::table::Level::{Must, Should};
use crate::table::{Answer, Duty, Side, answer};

const CONCURRENT: &str = "OTLP/gRPC Concurrent Requests";
const CONNECTION: &str = "OTLP/HTTP Connection";
const DESTINATIONS: &str = "Multi-Destination Exporting";

pub(super) fn duties() -> Vec<Duty> {
    let duty = |section, level, text, ask| Duty::new(Side::Client, section, level, text, ask);
    vec![
        duty(CONCURRENT, Should, "support several calls in flight", |p| in_flight(p, GRPC)),
        duty(CONCURRENT, Should, "send without waiting for earlier answers", by_default)
            .because("one request in flight keeps the order and fills the link with batches of 2 MiB; `num_consumers` allows more"),
        duty(CONCURRENT, Should, "let the number of calls in flight be configured", |p| in_flight(p, GRPC)),
        duty(CONCURRENT, Should, "let the wait for answers at shutdown be turned on and off", at_shutdown)
            .because("`--shutdown-timeout`; what is not answered is on disk and goes out after the next start"),
        duty("OTLP/HTTP Request", Should, "fall back to HTTP/1.1 where there is no HTTP/2", http_1),
        duty(CONNECTION, Should, "connect again, with growing waits, when the server cannot be reached", unreachable),
        duty(CONNECTION, Should, "keep the connection between requests", kept),
        duty("OTLP/HTTP Concurrent Requests", Should, "let the number of parallel connections be configured", |p| in_flight(p, HTTP)),
        duty(DESTINATIONS, Should, "queue, acknowledge and retry for each destination alone", apart),
        duty(DESTINATIONS, Should, "share the data between the queues of several destinations", shared)
            .because("one log, and a cursor for each exporter"),
        duty("Future Versions and Interoperability", Must, "work with servers of later versions: fields that it does not know", later),
    ]
}

const RECORDS: [&str; 4] = ["one", "two", "three", "four"];

/// How many requests wait at once for answers that do not come.
fn waiting(program: Program, exporter: &str, settings: &str, wanted: usize) -> bool {
    let backend = Backend::start();
    for record in RECORDS {
        backend.say(record, [Say::Nothing]);
    }
    let running = program.start(&Setup::new(exporter, backend.address, settings));
    for (n, record) in RECORDS.into_iter().enumerate() {
        running.log(record);
        if n < wanted {
            wait_for(super::ABSENCE, || (backend.waiting() > n).then_some(()));
        }
    }
    backend.waiting() >= wanted
}

fn in_flight(program: Program, exporter: &str) -> Answer {
    let queue = |n| format!("sending_queue: {{ storage: file_storage, num_consumers: {n} }}, timeout: 60s");
    let three = waiting(program, exporter, &queue(3), 3) && !waiting(program, exporter, &queue(3), 4);
    answer(three, if three { "three with `num_consumers: 3`" } else { "not as many as configured" })
}

fn by_default(program: Program) -> Answer {
    let several = waiting(program, GRPC, "sending_queue: { storage: file_storage }, timeout: 60s", 4);
    answer(several, if several { "several unless configured otherwise" } else { "one unless configured otherwise" })
}

/// How long it takes to end while a request has no answer.
fn at_shutdown(program: Program) -> Answer {
    if program == Program::Collector {
        return answer(false, "no such option");
    }
    let ends_within = |timeout: &str, limit: Duration| {
        let backend = Backend::start();
        backend.say("one", [Say::Nothing]);
        let running =
            program.start_with(&Setup::new(GRPC, backend.address, "timeout: 60s"), &["--shutdown-timeout", timeout]);
        running.log("one");
        backend.wait_for("one", 1);
        running.ends_within(limit)
    };
    let (at_once, waits) =
        (ends_within("10ms", Duration::from_millis(800)), !ends_within("5s", Duration::from_millis(800)));
    answer(at_once && waits, if at_once && waits { "`--shutdown-timeout`" } else { "it has no effect" })
}

fn http_1(program: Program) -> Answer {
    let backend = Backend::start();
    let running = program.start(&Setup::new(HTTP, backend.address, ""));
    running.log("record");
    backend.wait_for("record", 1);
    answer(true, "plain HTTP is HTTP/1.1")
}

fn unreachable(program: Program) -> Answer {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let running = program.start(&Setup::new(HTTP, address, ""));
    running.log("early");
    let refused = wait_for(PATIENCE, || running.said().contains("refused").then_some(()));
    let backend = Backend::on(TcpListener::bind(address).unwrap());
    let came = refused.is_some() && backend.comes_within("early", 1, PATIENCE).is_some();
    answer(came, if came { "delivered when the server was there" } else { "not delivered" })
}

fn kept(program: Program) -> Answer {
    let backend = Backend::start();
    let running = program.start(&Setup::new(HTTP, backend.address, ""));
    for record in RECORDS {
        running.log(record);
        backend.wait_for(record, 1);
    }
    let connections: BTreeSet<u64> = backend.seen().iter().map(|seen| seen.connection).collect();
    answer(connections.len() == 1, format!("{} requests over {}", RECORDS.len(), connections.len()))
}

fn apart(program: Program) -> Answer {
    let (stuck, well) = (Backend::start(), Backend::start());
    stuck.say("one", [Say::Nothing]);
    let setup = Setup::new("otlp/stuck", stuck.address, "timeout: 60s").and("otlp/well", well.address, "");
    let running = program.start(&setup);
    for record in RECORDS {
        running.log(record);
    }
    let all = RECORDS.iter().all(|record| well.comes_within(record, 1, PATIENCE).is_some());
    answer(all, if all { "one that hangs holds up no other" } else { "one that hangs holds up others" })
}

fn shared(program: Program) -> Answer {
    const RECORD: &str = "a record that stands nowhere else";
    let backend = Backend::start();
    backend.say(RECORD, [Say::Nothing, Say::Nothing]);
    let setup = Setup::new("otlp/a", backend.address, "timeout: 60s").and("otlp/b", backend.address, "timeout: 60s");
    let running = program.start(&setup);
    running.log(RECORD);
    backend.wait_for(RECORD, 2);
    let files = files_with(&running.storage, RECORD.as_bytes());
    answer(files == 1, format!("{files} on disk for two destinations"))
}

/// How many files below a directory contain these bytes.
fn files_with(dir: &Path, bytes: &[u8]) -> usize {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let in_entry = |path: std::path::PathBuf| {
        if path.is_dir() {
            return files_with(&path, bytes);
        }
        // A socket cannot be read, and holds nothing.
        let file = std::fs::read(path).unwrap_or_default();
        usize::from(file.windows(bytes.len()).any(|window| window == bytes))
    };
    entries.map(in_entry).sum()
}

/// Success with a field 99 that no version has yet.
fn later(program: Program) -> Answer {
    let response = [&ExportLogsServiceResponse::default().encode_to_vec()[..], &[0x9a, 0x06, 1, b'x']].concat();
    let both = !is_sent_again(program, GRPC, Say::Success(response.clone()))
        && !is_sent_again(program, HTTP, Say::Success(response));
    answer(both, if both { "taken as success" } else { "sent again" })
}
