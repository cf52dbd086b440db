//! What is asked of a server.

mod grpc;
mod http;
mod json;

use crate::backend::{Backend, Say};
use crate::program::{Program, Running, Setup};
use crate::table::Duty;

pub(crate) fn duties() -> Vec<Duty> {
    [grpc::duties(), http::duties(), json::duties()].into_iter().flatten().collect()
}

const WHOLE: &str = "a request is taken whole or refused whole, so there is no part to tell of; an id of a wrong length is taken, as the \
                     protocol lets who reads it treat it as absent";

/// A server with a backend behind it that takes everything.
struct Server {
    program: Running,
    backend: Backend,
}

impl Server {
    fn of(program: Program) -> Self {
        let backend = Backend::start();
        let program = program.start(&Setup::new("otlp", backend.address, "compression: none"));
        Self { program, backend }
    }

    /// One whose queue is full: nothing leaves it, and it may hold two records.
    fn full(program: Program) -> Self {
        let backend = Backend::start();
        backend.say("stuck", [Say::Nothing]);
        let queue =
            "sending_queue: { storage: file_storage, num_consumers: 1, sizer: items, queue_size: 2 }, timeout: 60s";
        let program = program.start(&Setup::new("otlp", backend.address, queue));
        program.log("stuck");
        backend.wait_for("stuck", 1);
        Self { program, backend }
    }
}
