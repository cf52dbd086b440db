//! tidegate as the durable queue of a Collector, with the files of `examples/collector-queue`: the backend is not there, and
//! both programs are killed. What the Collector acknowledged arrives.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use crate::backend::Backend;
use crate::load::Load;
use crate::programs::{Collector, Setup, Tidegate, local};
use crate::support::wait_for;
use crate::{PATIENCE, arrived, firsts};

/// Of each part of the story.
const RECORDS: u64 = 20_000;
/// A backend is tried again soon: the test waits for it.
const SOON: [&str; 2] = [
    "exporters.otlp/backend.retry_on_failure.initial_interval=100ms",
    "exporters.otlp/backend.retry_on_failure.max_interval=500ms",
];
/// Their metrics would be on fixed ports.
const QUIET: &str = "service.telemetry.metrics.level=none";

/// Where everything is.
struct Places {
    home: PathBuf,
    socket: PathBuf,
    collector: SocketAddr,
    backend: SocketAddr,
}

impl Places {
    fn setup(&self, file: &str, set: &[&'static str]) -> Setup {
        Setup {
            config: Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/collector-queue").join(file),
            environment: vec![
                ("COLLECTOR_OTLP_GRPC", self.collector.to_string()),
                ("COLLECTOR_OTLP_HTTP", local().to_string()),
                ("TIDEGATE_SOCKET", self.socket.display().to_string()),
                ("TIDEGATE_DATA_DIR", self.home.join("data").display().to_string()),
                ("TIDEGATE_HEALTH", local().to_string()),
                // Plain text: what the backend of a test speaks.
                ("TIDEGATE_BACKEND", format!("http://{}", self.backend)),
            ],
            set: set.to_vec(),
        }
    }

    fn collector(&self) -> Collector {
        Collector::new(&self.home, self.collector, self.setup("collector.yaml", &[QUIET]))
    }

    fn start_tidegate(&self) -> Tidegate {
        Tidegate::start(&self.home.join("data"), &self.setup("tidegate.yaml", &[QUIET, SOON[0], SOON[1]]))
    }
}

#[test]
fn the_collector_of_the_example_is_valid() {
    Collector::assert_valid(&Setup {
        config: Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/collector-queue/collector.yaml"),
        ..Setup::default()
    });
}

#[test]
fn what_a_collector_acknowledged_is_in_its_queue_when_either_is_killed() {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // A socket's path is short, and where this was built need not be.
    let run = tempfile::tempdir().unwrap();
    let (home, socket) = (home.path().to_owned(), run.path().join("otlp.sock"));
    let places = Places { home, socket, collector: local(), backend: local() };
    let tidegate = places.start_tidegate();
    let mut collector = places.collector();
    collector.start();
    let mut load = Load::to(collector.address);

    // The queue is killed. The application does not notice: the Collector tries again.
    let (tidegate, sent_again) = amid(&mut load, || {
        tidegate.kill();
        places.start_tidegate()
    });
    assert_eq!(sent_again, 0);

    // Both are killed while the Collector holds a request that the queue did not take: it has not acknowledged it.
    let (tidegate, sent_again) = amid(&mut load, || {
        let before = collector.said().len();
        tidegate.kill();
        let tries_again = || collector.said()[before..].contains("Will retry").then_some(());
        assert!(wait_for(PATIENCE, tries_again).is_some(), "{}", collector.said());
        collector.kill();
        collector.start();
        places.start_tidegate()
    });
    assert_ne!(sent_again, 0, "nothing was on its way when both were killed");
    load.send_a_span_and_a_point();

    let backend = Backend::on(TcpListener::bind(places.backend).unwrap());
    let sent = load.sent();
    let delivered = wait_for(PATIENCE, || (firsts(&arrived(&backend)).len() as u64 == sent).then_some(()));
    assert!(delivered.is_some(), "{} of {sent} arrived; {}", firsts(&arrived(&backend)).len(), tidegate.said());
    let all = arrived(&backend);
    assert_eq!(firsts(&all), (0..sent).collect::<Vec<u64>>(), "in order");
    for signal in ["trace", "metrics"] {
        let path = format!("/opentelemetry.proto.collector.{signal}.v1.");
        let came = || backend.seen().iter().any(|seen| seen.path.starts_with(&path)).then_some(());
        assert!(wait_for(PATIENCE, came).is_some(), "no {signal} arrived; {}", tidegate.said());
    }
    let books = tidegate.end("otlp/backend");
    assert_eq!(books.delivered, books.accepted);
    let twice = books.accepted - sent;
    println!(
        "figure: {sent} records acknowledged by a Collector whose queue is tidegate, both killed, all arrived, {twice} twice"
    );
}

/// Does something in the middle of a load; how often the application had to send a request again.
fn amid<T>(load: &mut Load, deed: impl FnOnce() -> T) -> (T, u64) {
    let (acknowledged, middle) = (load.progress(), load.sent() + RECORDS / 4);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| load.send_with_patience(RECORDS));
        let is_there = || acknowledged.load(Ordering::SeqCst) >= middle || sending.is_finished();
        wait_for(PATIENCE, || is_there().then_some(()));
        assert!(!sending.is_finished(), "it came too late to interrupt anything");
        (deed(), sending.join().unwrap())
    })
}
