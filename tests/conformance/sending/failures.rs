//! Which answers let a client send the same data again.

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use prost::Message as _;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{ABSENCE, GRPC, HTTP, is_sent_again};
use crate::backend::{Backend, Say};
use crate::program::{PATIENCE, Program, Setup};
use crate::support::wait_for;
use crate::table::Level::{Must, Should};
use crate::table::{Answer, Duty, Side, answer};

const REQUEST: &str = "OTLP/gRPC Request";
const RESPONSE: &str = "OTLP/gRPC Response";
const HTTP_REQUEST: &str = "OTLP/HTTP Request";
const CODES: &str = "Retryable Response Codes";

const GATEWAY: &str = "a stock gateway answers so when its own backend is down, and dropping the backlog then would lose it: records are \
                       parked once the backend has taken others";
const OTHERS: &str = "as above; and 408 says by itself that the request may be sent again (RFC 9110, section 15.5.9)";
const PROXY: &str =
    "a proxy with too low a limit refuses everything so: a record is parked once the backend has taken others";

pub(super) fn duties() -> Vec<Duty> {
    let duty = |section, level, text, ask| Duty::new(Side::Client, section, level, text, ask);
    let retry = |text, ask| duty(RESPONSE, Should, text, ask);
    vec![
        retry("CANCELLED: retry", |p| grpc(p, Code::Cancelled, true)),
        retry("UNKNOWN: do not retry", |p| grpc(p, Code::Unknown, false)).because(GATEWAY),
        retry("INVALID_ARGUMENT: do not retry", |p| grpc(p, Code::InvalidArgument, false)),
        retry("DEADLINE_EXCEEDED: retry", |p| grpc(p, Code::DeadlineExceeded, true)),
        retry("NOT_FOUND: do not retry", |p| grpc(p, Code::NotFound, false)).because(GATEWAY),
        retry("ALREADY_EXISTS: do not retry", |p| grpc(p, Code::AlreadyExists, false)).because(GATEWAY),
        retry("PERMISSION_DENIED: do not retry", |p| grpc(p, Code::PermissionDenied, false)).because(GATEWAY),
        retry("UNAUTHENTICATED: do not retry", |p| grpc(p, Code::Unauthenticated, false)).because(GATEWAY),
        retry("RESOURCE_EXHAUSTED without RetryInfo: do not retry", |p| grpc(p, Code::ResourceExhausted, false))
            .because(GATEWAY),
        retry("RESOURCE_EXHAUSTED with RetryInfo: retry", exhausted),
        retry("FAILED_PRECONDITION: do not retry", |p| grpc(p, Code::FailedPrecondition, false)).because(GATEWAY),
        retry("ABORTED: retry", |p| grpc(p, Code::Aborted, true)),
        retry("OUT_OF_RANGE: retry", |p| grpc(p, Code::OutOfRange, true)),
        retry("UNIMPLEMENTED: do not retry", |p| grpc(p, Code::Unimplemented, false)).because(GATEWAY),
        retry("INTERNAL: do not retry", |p| grpc(p, Code::Internal, false)).because(GATEWAY),
        retry("UNAVAILABLE: retry", |p| grpc(p, Code::Unavailable, true)),
        retry("DATA_LOSS: retry", |p| grpc(p, Code::DataLoss, true)),
        duty(REQUEST, Must, "do not retry a message that is too large", too_large).because(PROXY),
        duty(RESPONSE, Must, "do not retry after a partial success", |p| partial(p, GRPC)),
        duty(RESPONSE, Should, "count data that was dropped", counted)
            .because("it is not dropped: it is in the dead letters, from where it can be sent again"),
        duty(RESPONSE, Should, "record that an export failed", recorded),
        duty(HTTP_REQUEST, Must, "do not retry after 413", |p| http(p, &[413], false)).because(PROXY),
        duty("Partial Success", Must, "do not retry after a partial success over HTTP", |p| partial(p, HTTP)),
        duty(CODES, Should, "retry after 429, 502, 503 and 504", |p| http(p, &[429, 502, 503, 504], true)),
        duty(CODES, Must, "do not retry after another 4xx", |p| {
            http(p, &[401, 403, 404, 405, 408, 409, 415, 422], false)
        })
        .because(OTHERS),
        duty(CODES, Must, "do not retry after another 5xx", |p| http(p, &[500, 501, 505, 511], false)).because(GATEWAY),
        duty("Bad Data", Must, "do not retry after 400", |p| http(p, &[400], false)),
    ]
}

fn told(is_again: bool) -> &'static str {
    if is_again { "sent again" } else { "not sent again" }
}

fn grpc(program: Program, code: Code, wanted: bool) -> Answer {
    let is_again = is_sent_again(program, GRPC, Say::Grpc(Status::new(code, "told to")));
    answer(is_again == wanted, told(is_again))
}

fn exhausted(program: Program) -> Answer {
    let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(10)));
    let status = Status::with_error_details(Code::ResourceExhausted, "later", details);
    let is_again = is_sent_again(program, GRPC, Say::Grpc(status));
    answer(is_again, told(is_again))
}

fn too_large(program: Program) -> Answer {
    let status = Status::resource_exhausted("grpc: received message larger than max (5242880 vs. 4194304)");
    let is_again = is_sent_again(program, GRPC, Say::Grpc(status));
    answer(!is_again, told(is_again))
}

fn http(program: Program, codes: &[u16], wanted: bool) -> Answer {
    let again: Vec<bool> =
        codes.iter().map(|code| is_sent_again(program, HTTP, Say::Http(*code, Vec::new()))).collect();
    let of = |is_again: bool| {
        let codes: Vec<String> = codes
            .iter()
            .zip(&again)
            .filter(|(_, again)| **again == is_again)
            .map(|(code, _)| code.to_string())
            .collect();
        codes.join(", ")
    };
    let said = match (of(true), of(false)) {
        (all, none) if none.is_empty() => format!("sent again after {all}"),
        (none, all) if none.is_empty() => format!("not sent again after {all}"),
        (some, others) => format!("sent again after {some}; not after {others}"),
    };
    answer(again.iter().all(|again| *again == wanted), said)
}

fn partial(program: Program, exporter: &str) -> Answer {
    let partial_success =
        Some(ExportLogsPartialSuccess { rejected_log_records: 1, error_message: "one is bad".into() });
    let response = ExportLogsServiceResponse { partial_success }.encode_to_vec();
    let is_again = is_sent_again(program, exporter, Say::Success(response));
    answer(!is_again, told(is_again))
}

/// A record that the backend calls bad, and the program's metrics when that was counted.
fn after_bad_data(program: Program) -> (String, Option<String>) {
    let backend = Backend::start();
    backend.say("bad", [Say::Grpc(Status::invalid_argument("told to"))]);
    let running = program.start(&Setup::new(GRPC, backend.address, ""));
    running.log("bad");
    backend.wait_for("bad", 1);
    let counted = wait_for(PATIENCE, || {
        let metrics = running.metrics();
        metrics.lines().find_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            let name = name.split('{').next()?;
            let is_count = ["send_failed_log_records", "parked"].iter().any(|part| name.contains(part));
            (is_count && value.parse::<f64>().ok()? == 1.0).then(|| name.to_owned())
        })
    });
    (running.said(), counted)
}

fn counted(program: Program) -> Answer {
    match after_bad_data(program).1 {
        Some(name) => answer(true, format!("`{name}`")),
        None => answer(false, "no counter"),
    }
}

fn recorded(program: Program) -> Answer {
    let backend = Backend::start();
    backend.say("late", [Say::Nothing]);
    let running = program.start(&Setup::new(GRPC, backend.address, "timeout: 100ms"));
    running.log("late");
    backend.wait_for("late", 2);
    let is_told = wait_for(ABSENCE, || {
        let said = running.said().to_lowercase();
        ["deadline", "timed out", "timeout expired", "cancelled"].iter().any(|word| said.contains(word)).then_some(())
    });
    answer(is_told.is_some(), if is_told.is_some() { "in its log" } else { "nowhere" })
}
