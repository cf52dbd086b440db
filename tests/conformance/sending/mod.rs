//! What is asked of a client.

mod delivery;
mod failures;
mod requests;
mod waits;

use std::time::Duration;

use crate::backend::{Backend, Say, Seen};
use crate::program::{Program, Setup};
use crate::table::Duty;

/// What would be sent again is sent again within a tenth of this.
const ABSENCE: Duration = Duration::from_secs(2);

pub(crate) fn duties() -> Vec<Duty> {
    [requests::duties(), failures::duties(), waits::duties(), delivery::duties()].into_iter().flatten().collect()
}

/// Both protocols, by the type of their exporter.
const GRPC: &str = "otlp";
const HTTP: &str = "otlphttp";

/// Whether a record is sent again after this answer. Another one goes through in between, so that a client which
/// wants to see the backend work first has seen it.
fn is_sent_again(program: Program, exporter: &str, say: Say) -> bool {
    let backend = Backend::start();
    backend.say("first", [say]);
    let running = program.start(&Setup::new(exporter, backend.address, ""));
    running.log("first");
    backend.wait_for("first", 1);
    running.log("second");
    backend.wait_for("second", 1);
    backend.comes_within("first", 2, ABSENCE).is_some()
}

/// The requests with a record that the backend answers so before it takes it.
fn attempts(program: Program, exporter: &str, settings: &str, says: &[Say]) -> Vec<Seen> {
    let backend = Backend::start();
    backend.say("record", says.to_vec());
    let running = program.start(&Setup::new(exporter, backend.address, settings));
    running.log("record");
    backend.wait_for("record", says.len() + 1)
}

/// The waits between attempts.
fn gaps(attempts: &[Seen]) -> Vec<Duration> {
    attempts.windows(2).map(|pair| pair[1].at - pair[0].at).collect()
}
