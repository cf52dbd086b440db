//! The real OpenSearch and the real gateway, as child processes on ports of their own.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::http;
use crate::support::{free_port, parts, wait_for};

const START_LIMIT: Duration = Duration::from_secs(120);
/// Documents in one page of a scroll.
const PAGE: usize = 5_000;

/// A child that ends with the test.
struct Server(Child);

impl Server {
    #[allow(clippy::disallowed_methods, reason = "the server's log, kept beside its data")]
    fn start(command: &mut Command, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let said = format!("{command:?}");
        Self(command.spawn().unwrap_or_else(|e| panic!("{said}: {e}")))
    }

    fn running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to end.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// One OpenSearch node.
pub(crate) struct OpenSearch {
    pub(crate) address: SocketAddr,
    home: PathBuf,
    server: Option<Server>,
}

impl OpenSearch {
    /// Starts a node whose data is in `home`.
    pub(crate) fn start(home: &Path) -> Self {
        let mut node = Self { address: local(free_port()), home: home.join("opensearch"), server: None };
        std::fs::create_dir_all(&node.home).unwrap();
        node.start_again();
        node
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.server = None;
    }

    /// Starts on the same port and data; returns when it is healthy.
    pub(crate) fn start_again(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/whole_way/opensearch/start.sh");
        let mut command = Command::new(script);
        command.arg(parts().join("opensearch")).arg(&self.home).arg(self.address.port().to_string());
        let mut server = Server::start(&mut command, &self.home.join("stdout.log"));
        let healthy = "/_cluster/health?wait_for_status=yellow&timeout=5s";
        let up = wait_for(START_LIMIT, || {
            assert!(server.running(), "OpenSearch ended; its log is {}", self.home.join("stdout.log").display());
            http::json(self.address, "GET", healthy, None).filter(|(status, _)| *status == 200)
        });
        assert!(up.is_some(), "OpenSearch is not healthy after {START_LIMIT:?}");
        self.server = Some(server);
    }

    /// Every document of an index that is there now.
    pub(crate) fn documents(&self, index: &str) -> Vec<Value> {
        let ask = |method, path: &str, body: Value| http::json(self.address, method, path, Some(&body)).unwrap();
        let (status, _) = ask("POST", &format!("/{index}/_refresh"), json!({}));
        if status == 404 {
            return Vec::new();
        }
        let first = json!({"size": PAGE, "sort": ["_doc"], "query": {"match_all": {}}});
        let (_, mut page) = ask("POST", &format!("/{index}/_search?scroll=2m"), first);
        let mut documents = Vec::new();
        loop {
            let hits = page["hits"]["hits"].as_array().unwrap_or_else(|| panic!("no hits: {page}"));
            if hits.is_empty() {
                return documents;
            }
            documents.extend(hits.iter().map(|hit| hit["_source"].clone()));
            let next = json!({"scroll": "2m", "scroll_id": page["_scroll_id"]});
            page = ask("POST", "/_search/scroll", next).1;
        }
    }
}

/// The OpenTelemetry Collector with the gateway's configuration of the examples.
pub(crate) struct Gateway {
    /// OTLP over gRPC.
    pub(crate) grpc: SocketAddr,
    /// OTLP over HTTP.
    pub(crate) http: SocketAddr,
    health: SocketAddr,
    opensearch: SocketAddr,
    log: PathBuf,
    server: Option<Server>,
}

impl Gateway {
    /// A gateway with its ports chosen, not yet started.
    pub(crate) fn new(home: &Path, opensearch: SocketAddr) -> Self {
        let [grpc, http, health] = [(); 3].map(|()| local(free_port()));
        Self { grpc, http, health, opensearch, log: home.join("gateway.log"), server: None }
    }

    /// The Collector on the gateway's configuration.
    fn program(arguments: &[&str]) -> Command {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gateway/collector.yaml");
        let mut command = Command::new(parts().join("collector/otelcol"));
        command.args(arguments).arg("--config").arg(config);
        command
    }

    /// The Collector finds nothing wrong with the configuration.
    pub(crate) fn assert_valid() {
        let output = Self::program(&["validate"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts it and waits until it is healthy.
    pub(crate) fn start(&mut self) {
        let mut command = Self::program(&[]);
        command.env("GATEWAY_GRPC", self.grpc.to_string()).env("GATEWAY_HTTP", self.http.to_string());
        command.env("GATEWAY_HEALTH", self.health.to_string());
        command.env("OPENSEARCH_URL", format!("http://{}", self.opensearch));
        let mut server = Server::start(&mut command, &self.log);
        let up = wait_for(START_LIMIT, || {
            assert!(server.running(), "the gateway ended; its log is {}", self.log.display());
            http::json(self.health, "GET", "/", None).filter(|(status, _)| *status == 200)
        });
        assert!(up.is_some(), "the gateway is not healthy after {START_LIMIT:?}");
        self.server = Some(server);
    }

    /// What it answers to one harmless record over HTTP.
    pub(crate) fn answer(&self) -> u16 {
        let record = json!({"body": {"stringValue": "is anybody there?"}});
        let request = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]});
        http::json(self.http, "POST", "/v1/logs", Some(&request)).map_or(0, |(status, _)| status)
    }
}
