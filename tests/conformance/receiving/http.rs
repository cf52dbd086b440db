//! OTLP/HTTP, whatever the encoding.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message as _;

use super::Server;
use crate::call::{self, JSON, PROTOBUF, Reply};
use crate::program::Program;
use crate::table::Level::{Must, Should};
use crate::table::{Answer, Duty, Side, answer};

const BINARY: &str = "Binary Protobuf Encoding";
const REQUEST: &str = "OTLP/HTTP Request";
const RESPONSE: &str = "OTLP/HTTP Response";
const SUCCESS: &str = "Full Success";
const PARTIAL: &str = "Partial Success";
const FAILURES: &str = "Failures";
const BAD_DATA: &str = "Bad Data";
const THROTTLING: &str = "OTLP/HTTP Throttling";
const CONNECTION: &str = "OTLP/HTTP Connection";
const FUTURE: &str = "Future Versions and Interoperability";

pub(super) fn duties() -> Vec<Duty> {
    let duty = |section, level, text, ask| Duty::new(Side::Server, section, level, text, ask);
    vec![
        duty("Protocol Details", Must, "take bodies that are not compressed", plain),
        duty("Protocol Details", Must, "take bodies compressed with gzip", gzip),
        duty(BINARY, Must, "answer with `Content-Type: application/x-protobuf`", content_type),
        duty(REQUEST, Must, "limit the size of a body", large).because(TOO_LARGE),
        duty(REQUEST, Must, "limit its size after decompression", bomb).because(TOO_LARGE),
        duty(REQUEST, Should, "answer 413 to a body that is too large", code_of_large).because(TOO_LARGE),
        duty(RESPONSE, Must, "answer in the encoding of the request", same_encoding),
        duty(SUCCESS, Should, "answer an empty request with success", empty),
        duty(SUCCESS, Must, "answer success with 200 and an `Export…ServiceResponse`", success),
        duty(SUCCESS, Must, "leave `partial_success` unset when everything was taken", unset)
            .because("the Collector sets the field to an empty message"),
        duty(PARTIAL, Must, "when a part is rejected, answer 200 and say how many in `partial_success`", part)
            .because(super::WHOLE),
        duty(FAILURES, Must, "answer a failure with 4xx or 5xx", failure),
        duty(FAILURES, Must, "put a `google.rpc.Status` into the body of every 4xx and 5xx", status_bodies)
            .because("in JSON where the request was in neither encoding: a person reads that"),
        duty(FAILURES, Should, "say in `Status.message` what is wrong, for a developer", messages),
        duty(FAILURES, Should, "show by the status whether a retry helps", retryable),
        duty(BAD_DATA, Must, "answer 400 to data that cannot be decoded", bad_data),
        duty(BAD_DATA, Should, "describe bad data in a `BadRequest` among `Status.details`", bad_request)
            .because("what is wrong, and at which byte"),
        duty(THROTTLING, Should, "answer 429 or 503 when overloaded", overloaded)
            .because("with a Retry-After, which the specification leaves open"),
        duty(CONNECTION, Should, "take both encodings on one port", one_port),
        duty(FUTURE, Must, "work with clients of later versions: fields that it does not know", unknown_field)
            .because("stored bytes are forwarded as they came, so a newer backend gets a newer client's fields"),
    ]
}

const TOO_LARGE: &str = "413 lets a client send less at once; 400 says that the data is bad";

fn logs(server: &Server, headers: &str, body: &[u8]) -> Reply {
    call::post(server.program.http, "/v1/logs", headers, body)
}

fn code(reply: &Reply, wanted: u16) -> Answer {
    answer(reply.status == wanted, reply.status.to_string())
}

fn plain(program: Program) -> Answer {
    let server = Server::of(program);
    let reply = logs(&server, PROTOBUF, &call::logs(&["plain"]));
    server.backend.wait_for("plain", 1);
    code(&reply, 200)
}

fn gzip(program: Program) -> Answer {
    let server = Server::of(program);
    let body = call::gzip(&call::logs(&["gzip"]));
    let reply = logs(&server, &format!("{PROTOBUF}Content-Encoding: gzip\r\n"), &body);
    server.backend.wait_for("gzip", 1);
    code(&reply, 200)
}

fn content_type(program: Program) -> Answer {
    let server = Server::of(program);
    let good = logs(&server, PROTOBUF, &call::logs(&["good"]));
    let bad = logs(&server, PROTOBUF, b"\xff garbage");
    let all = [&good, &bad].iter().all(|reply| reply.content_type() == "application/x-protobuf");
    answer(all, format!("{} on success, {} on failure", good.content_type(), bad.content_type()))
}

/// One byte more than 20 MiB would do.
const LARGE: usize = 21 << 20;

fn large(program: Program) -> Answer {
    let server = Server::of(program);
    let reply = logs(&server, PROTOBUF, &call::logs(&[&"x".repeat(LARGE)]));
    answer((400..500).contains(&reply.status), format!("21 MiB: {}", reply.status))
}

fn bomb(program: Program) -> Answer {
    let server = Server::of(program);
    let body = call::gzip(&call::logs(&[&"x".repeat(LARGE)]));
    let reply = logs(&server, &format!("{PROTOBUF}Content-Encoding: gzip\r\n"), &body);
    answer((400..500).contains(&reply.status), format!("21 MiB in less than 200 KiB of gzip: {}", reply.status))
}

fn code_of_large(program: Program) -> Answer {
    let server = Server::of(program);
    code(&logs(&server, PROTOBUF, &call::logs(&[&"x".repeat(LARGE)])), 413)
}

fn same_encoding(program: Program) -> Answer {
    let server = Server::of(program);
    let types: Vec<String> = [(PROTOBUF, &b""[..]), (JSON, b"{}"), (PROTOBUF, b"\xff garbage"), (JSON, b"garbage")]
        .into_iter()
        .map(|(headers, body)| logs(&server, headers, body).content_type().replace("application/", ""))
        .collect();
    answer(types == ["x-protobuf", "json", "x-protobuf", "json"], types.join(", "))
}

fn empty(program: Program) -> Answer {
    let server = Server::of(program);
    let (binary, json) = (logs(&server, PROTOBUF, b"").status, logs(&server, JSON, b"{}").status);
    answer(binary == 200 && json == 200, format!("binary {binary}, JSON {json}"))
}

fn success(program: Program) -> Answer {
    let server = Server::of(program);
    let reply = logs(&server, PROTOBUF, &call::logs(&["taken"]));
    let is_response = ExportLogsServiceResponse::decode(&*reply.body).is_ok();
    answer(reply.status == 200 && is_response, reply.status.to_string())
}

fn unset(program: Program) -> Answer {
    let server = Server::of(program);
    let binary = logs(&server, PROTOBUF, &call::logs(&["whole"]));
    let binary = ExportLogsServiceResponse::decode(&*binary.body).unwrap().partial_success.is_none();
    let json = logs(&server, JSON, b"{}").text();
    let both = binary && !json.contains("partialSuccess");
    answer(both, format!("{} in binary, `{}` in JSON", if binary { "unset" } else { "set" }, json.trim()))
}

fn part(program: Program) -> Answer {
    let server = Server::of(program);
    let reply = logs(&server, PROTOBUF, &super::grpc::half_good());
    if reply.status != 200 {
        return answer(true, format!("a bad record beside a good one: {}", reply.status));
    }
    let response = ExportLogsServiceResponse::decode(&*reply.body).unwrap();
    let bodies = server.backend.wait_for("good", 1)[0].bodies.clone();
    match response.partial_success {
        Some(partial) => {
            answer(partial.rejected_log_records == 1, format!("rejected {}", partial.rejected_log_records))
        }
        None => answer(bodies.len() == 2, "a record with a bad id beside a good one: 200, both forwarded"),
    }
}

fn failure(program: Program) -> Answer {
    let server = Server::of(program);
    let reply = logs(&server, JSON, b"[1, 2");
    answer(reply.status >= 400, format!("broken JSON: {}", reply.status))
}

/// One request of each kind that is answered with an error.
fn errors(server: &Server) -> Vec<Reply> {
    let good = call::logs(&["good"]);
    let http = server.program.http;
    vec![
        logs(server, PROTOBUF, b"\xff garbage"),
        logs(server, JSON, b"garbage"),
        call::post(http, "/v1/nothing", PROTOBUF, &good),
        call::request(http, "GET", "/v1/logs", "", b""),
        logs(server, PROTOBUF, &call::logs(&[&"x".repeat(LARGE)])),
        logs(server, "Content-Type: text/plain\r\n", &good),
        logs(server, &format!("{PROTOBUF}Content-Encoding: br\r\n"), &good),
    ]
}

fn status_bodies(program: Program) -> Answer {
    let errors = errors(&Server::of(program));
    let with: Vec<String> = listed(&errors, |reply| reply.rpc_status().is_some());
    let without: Vec<String> = listed(&errors, |reply| reply.rpc_status().is_none());
    let said = if without.is_empty() {
        format!("{} have it", with.join(", "))
    } else {
        format!("{} have it, {} have not", with.join(", "), without.join(", "))
    };
    answer(without.is_empty(), said)
}

fn listed(replies: &[Reply], which: impl Fn(&Reply) -> bool) -> Vec<String> {
    let mut codes: Vec<String> =
        replies.iter().filter(|reply| which(reply)).map(|reply| reply.status.to_string()).collect();
    codes.dedup();
    codes
}

fn messages(program: Program) -> Answer {
    let errors = errors(&Server::of(program));
    let statuses: Vec<_> = errors.iter().filter_map(Reply::rpc_status).collect();
    let spoken = statuses.iter().filter(|status| !status.message.is_empty()).count();
    answer(spoken == statuses.len(), if spoken == statuses.len() { "always" } else { "not always" })
}

fn overflow(program: Program) -> Reply {
    let server = Server::full(program);
    let mut replies = (0..10).map(|_| logs(&server, PROTOBUF, &call::logs(&["more"])));
    replies.find(|reply| reply.status != 200).expect("a full queue refuses")
}

fn retryable(program: Program) -> Answer {
    let full = overflow(program).status;
    let bad = logs(&Server::of(program), PROTOBUF, b"\xff garbage").status;
    let is_right = [429, 502, 503, 504].contains(&full) && ![429, 502, 503, 504].contains(&bad);
    answer(is_right, format!("a full queue {full}, bad data {bad}"))
}

fn bad_data(program: Program) -> Answer {
    let server = Server::of(program);
    let (binary, json) = (logs(&server, PROTOBUF, b"\xff garbage").status, logs(&server, JSON, b"garbage").status);
    let gzip = logs(&server, &format!("{PROTOBUF}Content-Encoding: gzip\r\n"), b"garbage").status;
    let said = format!("binary {binary}, JSON {json}, gzip {gzip}");
    answer([binary, json, gzip] == [400, 400, 400], said)
}

fn bad_request(program: Program) -> Answer {
    let server = Server::of(program);
    let binary = logs(&server, PROTOBUF, b"\xff garbage").rpc_status();
    let in_binary =
        binary.is_some_and(|s| s.details.iter().any(|any| any.type_url.ends_with("/google.rpc.BadRequest")));
    let in_json = logs(&server, JSON, b"garbage").text().contains("google.rpc.BadRequest");
    let said = match (in_binary, in_json) {
        (true, true) => "in both encodings",
        (false, false) => "no details",
        _ => "in one encoding",
    };
    answer(in_binary && in_json, said)
}

fn overloaded(program: Program) -> Answer {
    let reply = overflow(program);
    let after =
        reply.header("retry-after").map_or("no Retry-After".to_owned(), |after| format!("Retry-After: {after}"));
    answer([429, 503].contains(&reply.status), format!("{} with {after}", reply.status))
}

fn one_port(program: Program) -> Answer {
    let server = Server::of(program);
    let binary = logs(&server, PROTOBUF, &call::logs(&["binary"])).status;
    let json = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"json"}}]}]}]}"#;
    let json = logs(&server, JSON, json).status;
    server.backend.wait_for("binary", 1);
    server.backend.wait_for("json", 1);
    answer(binary == 200 && json == 200, "both forwarded")
}

/// Field 99 of the request and of nothing known: what a later version may add.
fn unknown_field(program: Program) -> Answer {
    let server = Server::of(program);
    let later = [0x9a, 0x06, 5, b'l', b'a', b't', b'e', b'r'];
    let reply = logs(&server, PROTOBUF, &[&call::logs(&["new"])[..], &later].concat());
    let came = server.backend.wait_for("new", 1).remove(0);
    let is_kept = came.message.windows(later.len()).any(|window| window == later);
    answer(
        reply.status == 200,
        format!("{}; the field is {}", reply.status, if is_kept { "forwarded" } else { "dropped" }),
    )
}
