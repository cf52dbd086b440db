//! How long a client waits before it sends again.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{GRPC, HTTP, attempts, gaps};
use crate::backend::Say;
use crate::program::Program;
use crate::table::Level::{Must, Should};
use crate::table::{Answer, Duty, Side, answer};

pub(super) fn duties() -> Vec<Duty> {
    let duty = |section, level, text, ask| Duty::new(Side::Client, section, level, text, ask);
    vec![
        duty("OTLP/gRPC Response", Should, "wait exponentially longer between retries", |p| {
            grows(p, GRPC, &unavailable())
        }),
        duty("OTLP/gRPC Throttling", Must, "slow down when the server signals backpressure", throttled),
        duty("OTLP/gRPC Throttling", Should, "wait as long as RetryInfo asks", throttled),
        duty("OTLP/HTTP Throttling", Should, "wait as long as Retry-After asks", retry_after),
        duty("OTLP/HTTP Throttling", Should, "without Retry-After wait exponentially longer", |p| {
            grows(p, HTTP, &Say::Http(503, Vec::new()))
        }),
        duty("All Other Responses", Should, "send again when the server disconnects without an answer", hung_up),
        duty("All Other Responses", Should, "wait exponentially longer when it disconnects", |p| {
            grows(p, HTTP, &Say::HangUp)
        }),
        duty("OTLP/HTTP Connection", Must, "spread the waits by chance", jitter),
    ]
}

fn unavailable() -> Say {
    Say::Grpc(Status::unavailable("told to"))
}

/// Doubling from 100 ms, without chance: 100, 200, 400.
fn grows(program: Program, exporter: &str, say: &Say) -> Answer {
    let retry =
        "retry_on_failure: { initial_interval: 100ms, multiplier: 2, max_interval: 10s, randomization_factor: 0 }";
    let gaps = gaps(&attempts(program, exporter, retry, &vec![say.clone(); 3]));
    let least = [100, 200, 400].map(Duration::from_millis);
    let is_met = gaps.iter().zip(least).all(|(gap, least)| *gap >= least);
    answer(is_met, if is_met { "each wait is twice the one before" } else { "the waits do not grow" })
}

fn throttled(program: Program) -> Answer {
    let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(1)));
    let status = Status::with_error_details(Code::Unavailable, "later", details);
    waited(&attempts(program, GRPC, "", &[Say::Grpc(status)]))
}

fn retry_after(program: Program) -> Answer {
    waited(&attempts(program, HTTP, "", &[Say::Http(503, vec![("retry-after", "1".to_owned())])]))
}

/// A second was asked for; its own wait would be 50 ms.
fn waited(attempts: &[crate::backend::Seen]) -> Answer {
    let is_met = gaps(attempts)[0] >= Duration::from_secs(1);
    answer(is_met, if is_met { "as long as asked" } else { "not as long" })
}

fn hung_up(program: Program) -> Answer {
    attempts(program, HTTP, "", &[Say::HangUp]);
    answer(true, "sent again")
}

/// Six waits of the same length before chance: with the default spread of a half they differ by more than a tenth.
fn jitter(program: Program) -> Answer {
    let retry = "retry_on_failure: { initial_interval: 100ms, multiplier: 1, max_interval: 100ms }";
    let gaps = gaps(&attempts(program, HTTP, retry, &vec![Say::Http(503, Vec::new()); 6]));
    let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
    let is_met = *most - *least > Duration::from_millis(10);
    answer(is_met, if is_met { "they differ" } else { "they are all the same" })
}
