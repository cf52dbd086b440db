//! `examples/rust_app.rs`, killed and started again while its endpoint is down.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::backend::Backend;
use crate::support::wait_for;
use crate::{LIMIT, nobody};

/// Records that each run has acknowledged, at least, when it is killed.
const PER_RUN: usize = 50;

/// The application, and the orders that it printed: each was on disk by then.
struct App {
    child: Child,
    printed: Arc<Mutex<Vec<String>>>,
    reading: JoinHandle<()>,
}

impl App {
    fn start(program: &Path, directory: &Path, endpoint: SocketAddr) -> Self {
        let mut child = Command::new(program)
            .args([directory.to_str().unwrap(), "1000000000"])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{endpoint}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let printed = Arc::new(Mutex::new(Vec::new()));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let lines = Arc::clone(&printed);
        let reading = std::thread::spawn(move || {
            // A kill may cut the last line: what was not printed whole was not acknowledged to anybody.
            for line in stdout.split(b'\n').map_while(Result::ok) {
                lines.lock().unwrap().push(String::from_utf8(line).unwrap());
            }
        });
        Self { child, printed, reading }
    }

    fn wait_printed(&self, count: usize) {
        wait_for(LIMIT, || (self.printed.lock().unwrap().len() >= count).then_some(())).unwrap();
    }

    /// kill -9; gives what was acknowledged until then.
    fn kill(mut self) -> Vec<String> {
        assert_eq!(self.child.try_wait().unwrap(), None, "it must not have ended by itself");
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reading.join().unwrap();
        let mut printed = std::mem::take(&mut *self.printed.lock().unwrap());
        // `split` gives the unfinished last line too.
        printed.pop();
        printed
    }
}

/// Builds the example with this test's features; nothing is done when it is there.
fn program() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo tells a test about its package would make it build some dependencies again.
    let of_package = |name: &str| name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_PKG_");
    for (name, _) in std::env::vars().filter(|(name, _)| of_package(name)) {
        cargo.env_remove(name);
    }
    cargo.args(["build", "--quiet", "--offline", "--all-features", "--example", "rust_app"]);
    assert!(cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples/rust_app")
}

#[test]
fn an_application_killed_while_its_endpoint_is_down_loses_no_acknowledged_record() {
    let program = program();
    let dir = tempfile::tempdir().unwrap();
    let address = nobody();
    let mut acked = Vec::new();
    for _ in 0..5 {
        let app = App::start(&program, dir.path(), address);
        app.wait_printed(PER_RUN);
        acked.extend(app.kill());
    }
    assert!(acked.len() >= 5 * (PER_RUN - 1), "{}", acked.len());

    // The endpoint comes up while the application runs; then it is killed in the middle of the delivery.
    let app = App::start(&program, dir.path(), address);
    app.wait_printed(PER_RUN);
    let backend = Backend::start_at(address);
    wait_for(LIMIT, || (!backend.taken().is_empty()).then_some(())).unwrap();
    acked.extend(app.kill());

    let app = App::start(&program, dir.path(), address);
    let acked: BTreeSet<String> = acked.into_iter().collect();
    let lost = || {
        let taken: BTreeSet<_> = backend.values("order.id").into_iter().collect();
        acked.difference(&taken).count()
    };
    let delivered = wait_for(LIMIT, || (lost() == 0).then_some(()));
    app.kill();
    let taken = backend.values("order.id");
    let distinct = taken.iter().collect::<BTreeSet<_>>().len();
    println!("acked {}, lost {}, taken twice {}", acked.len(), lost(), taken.len() - distinct);
    assert!(delivered.is_some(), "{} of {} acknowledged records are lost", lost(), acked.len());
}
