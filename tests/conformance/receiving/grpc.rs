//! OTLP/gRPC.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use tonic::Code;

use super::Server;
use crate::call::{self, GrpcReply, LOGS, METRICS, TRACES};
use crate::program::Program;
use crate::table::Level::{Must, Should};
use crate::table::{Answer, Duty, Side, answer};

const REQUEST: &str = "OTLP/gRPC Request";
const RESPONSE: &str = "OTLP/gRPC Response";
const THROTTLING: &str = "OTLP/gRPC Throttling";

pub(super) fn duties() -> Vec<Duty> {
    let duty = |section, level, text, ask| Duty::new(Side::Server, section, level, text, ask);
    vec![
        duty("Protocol Details", Must, "take messages that are not compressed", plain),
        duty("Protocol Details", Must, "take messages compressed with gzip", gzip),
        duty(REQUEST, Must, "enforce a limit on the size of a message", large),
        duty(RESPONSE, Must, "answer each signal with its own response message", messages),
        duty(RESPONSE, Must, "leave `partial_success` unset when everything was taken", unset)
            .because("the Collector sets the field to an empty message"),
        duty(RESPONSE, Should, "answer an empty request with success", empty),
        duty(RESPONSE, Must, "when a part is rejected, say how many in `partial_success`", part).because(super::WHOLE),
        duty(RESPONSE, Should, "show that an error can be retried with UNAVAILABLE", full).because(FULL),
        duty(RESPONSE, Should, "show that an error cannot be retried with INVALID_ARGUMENT", bad)
            .because("the Collector's gRPC library answers before its receiver can"),
        duty(THROTTLING, Should, "signal backpressure, so that the client slows down", pressure).because(FULL),
        duty(THROTTLING, Should, "ask for a delay that lets it recover", delay)
            .because("a delay is asked for whenever the same request may be taken later"),
    ]
}

const FULL: &str = "a full log is RESOURCE_EXHAUSTED with RetryInfo, which the specification lets a client retry in the same \
                    way: it says that a limit was met, and UNAVAILABLE that the log cannot be written";

fn plain(program: Program) -> Answer {
    let server = Server::of(program);
    let reply = call::grpc(server.program.grpc, LOGS, &call::logs(&["plain"]));
    server.backend.wait_for("plain", 1);
    said(&reply, Code::Ok)
}

fn gzip(program: Program) -> Answer {
    let server = Server::of(program);
    let reply = call::grpc_gzip(server.program.grpc, LOGS, &call::logs(&["gzip"]));
    server.backend.wait_for("gzip", 1);
    said(&reply, Code::Ok)
}

fn large(program: Program) -> Answer {
    let server = Server::of(program);
    let message = call::logs(&[&"x".repeat(5 << 20)]);
    let plain = call::grpc(server.program.grpc, LOGS, &message);
    let bomb = call::grpc_gzip(server.program.grpc, LOGS, &message);
    let refused = |reply: &GrpcReply| reply.code == Code::ResourceExhausted && reply.retry_delay().is_none();
    let said = format!("5 MiB: {}; 5 MiB in a few KiB of gzip: {}", name(plain.code), name(bomb.code));
    answer(refused(&plain) && refused(&bomb), said)
}

fn messages(program: Program) -> Answer {
    let server = Server::of(program);
    let is_response = |path, decodes: fn(&[u8]) -> bool| {
        let reply = call::grpc(server.program.grpc, path, &[]);
        reply.code == Code::Ok && reply.body.is_some_and(|body| decodes(&body))
    };
    let all = is_response(LOGS, |body| ExportLogsServiceResponse::decode(body).is_ok())
        && is_response(TRACES, |body| ExportTraceServiceResponse::decode(body).is_ok())
        && is_response(METRICS, |body| ExportMetricsServiceResponse::decode(body).is_ok());
    answer(all, if all { "for all three" } else { "not for all three" })
}

fn unset(program: Program) -> Answer {
    let server = Server::of(program);
    let reply = call::grpc(server.program.grpc, LOGS, &call::logs(&["whole"]));
    let response = ExportLogsServiceResponse::decode(&*reply.body.unwrap()).unwrap();
    match response.partial_success {
        None => answer(true, "unset"),
        Some(_) => answer(false, "set"),
    }
}

fn empty(program: Program) -> Answer {
    let server = Server::of(program);
    said(&call::grpc(server.program.grpc, LOGS, &[]), Code::Ok)
}

/// A good record and one whose trace id has three bytes.
pub(super) fn half_good() -> Vec<u8> {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    let mut request = ExportLogsServiceRequest::decode(&*call::logs(&["good", "bad"])).unwrap();
    request.resource_logs[0].scope_logs[0].log_records[1].trace_id = vec![1, 2, 3];
    request.encode_to_vec()
}

fn part(program: Program) -> Answer {
    let server = Server::of(program);
    let reply = call::grpc(server.program.grpc, LOGS, &half_good());
    if reply.code != Code::Ok {
        return answer(true, format!("a bad record beside a good one: {}", name(reply.code)));
    }
    let response = ExportLogsServiceResponse::decode(&*reply.body.unwrap()).unwrap();
    let bodies = server.backend.wait_for("good", 1)[0].bodies.clone();
    match response.partial_success {
        Some(partial) => {
            answer(partial.rejected_log_records == 1, format!("rejected {}", partial.rejected_log_records))
        }
        None => answer(bodies.len() == 2, "a record with a bad id beside a good one: OK, both forwarded"),
    }
}

/// Sends until the answer is not success.
fn refused(server: &Server) -> GrpcReply {
    let replies = (0..10).map(|_| call::grpc(server.program.grpc, LOGS, &call::logs(&["more"])));
    replies.into_iter().find(|reply| reply.code != Code::Ok).expect("a full queue refuses")
}

fn full(program: Program) -> Answer {
    said(&refused(&Server::full(program)), Code::Unavailable)
}

fn pressure(program: Program) -> Answer {
    let reply = refused(&Server::full(program));
    let signals =
        reply.code == Code::Unavailable || (reply.code == Code::ResourceExhausted && reply.retry_delay().is_some());
    answer(signals, format!("a full queue: {}", name(reply.code)))
}

fn delay(program: Program) -> Answer {
    match refused(&Server::full(program)).retry_delay() {
        Some(delay) => answer(delay >= 1.0, format!("RetryInfo of {delay} s")),
        None => answer(false, "no RetryInfo"),
    }
}

fn bad(program: Program) -> Answer {
    let server = Server::of(program);
    said(&call::grpc(server.program.grpc, LOGS, b"\xff\xff garbage"), Code::InvalidArgument)
}

fn said(reply: &GrpcReply, wanted: Code) -> Answer {
    answer(reply.code == wanted, name(reply.code))
}

/// As the specification writes it.
fn name(code: Code) -> String {
    let words = format!("{code:?}");
    let mut name = String::new();
    for c in words.chars() {
        if c.is_ascii_uppercase() && !name.is_empty() && words != "Ok" {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}
