//! OTLP gRPC in → synced disk → OTLP gRPC out, through the real binary, with generator and sink in this process.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint};

use crate::raw::RawCodec;
use crate::report::{median, spread};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The binary to measure.
    #[arg(long, default_value = "target/release/tidegate")]
    binary: PathBuf,
    /// Records to send in each turn.
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Records in a request.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1000])]
    batches: Vec<u64>,
    /// Requests in flight.
    #[arg(long, default_value_t = 16)]
    streams: u64,
    /// Turns of each batch size; the median is given.
    #[arg(long, default_value_t = 3)]
    turns: usize,
}

pub(crate) fn run(dir: &Path, args: &Args) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("{} records a turn, {} requests in flight, {} turns", args.records, args.streams, args.turns);
    println!(
        "| batch | acked records/s | delivered records/s | agent CPU-s per million | bytes a record |\n|---|---|---|---|---|"
    );
    for &batch in &args.batches {
        let (mut acked, mut delivered, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
        let request = request(batch);
        for _ in 0..args.turns {
            let turn = runtime.block_on(turn(dir, args, batch, request.clone()))?;
            acked.push(turn.acked_per_second);
            delivered.push(turn.delivered_per_second);
            cpu.push(turn.cpu_seconds_per_million);
        }
        let bytes = request.len() as u64 / batch;
        let cpu = format!("{:.2}", median(&mut cpu));
        println!("| {batch} | {} | {} | {cpu} | {bytes} |", spread(&mut acked), spread(&mut delivered));
    }
    Ok(())
}

struct Turn {
    acked_per_second: f64,
    delivered_per_second: f64,
    cpu_seconds_per_million: f64,
}

async fn turn(dir: &Path, args: &Args, batch: u64, request: Bytes) -> Result<Turn, Box<dyn Error>> {
    let dir = tempfile::tempdir_in(dir)?;
    let (sink, delivered) = serve_sink().await?;
    let agent = Agent::start(&args.binary, dir.path(), sink)?;
    let channel = agent.connect().await?;
    let cpu_before = agent.cpu_seconds()?;
    let (start, requests) = (Instant::now(), Arc::new(AtomicU64::new(args.records / batch)));
    let mut streams = tokio::task::JoinSet::new();
    for _ in 0..args.streams {
        streams.spawn(send(channel.clone(), request.clone(), Arc::clone(&requests)));
    }
    while let Some(stream) = streams.join_next().await {
        stream??;
    }
    let acked_after = start.elapsed().as_secs_f64();
    let sent = args.records / batch * batch;
    while delivered.load(Ordering::Relaxed) < sent {
        if start.elapsed() > Duration::from_secs(120) {
            return Err(format!("only {} of {sent} records arrived", delivered.load(Ordering::Relaxed)).into());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(Turn {
        acked_per_second: sent as f64 / acked_after,
        delivered_per_second: sent as f64 / start.elapsed().as_secs_f64(),
        cpu_seconds_per_million: (agent.cpu_seconds()? - cpu_before) * 1e6 / sent as f64,
    })
}

/// Sends the same request until the shared count is used up; a retryable answer is retried.
async fn send(channel: Channel, request: Bytes, left: Arc<AtomicU64>) -> Result<(), tonic::Status> {
    let mut client = tonic::client::Grpc::new(channel);
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
        loop {
            client.ready().await.map_err(|e| tonic::Status::unavailable(e.to_string()))?;
            let path = http::uri::PathAndQuery::from_static(EXPORT);
            match client.unary(tonic::Request::new(request.clone()), path, RawCodec).await {
                Ok(_) => break,
                Err(status) if matches!(status.code(), tonic::Code::Unavailable | tonic::Code::ResourceExhausted) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(status) => return Err(status),
            }
        }
    }
    Ok(())
}

const EXPORT: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// Counts log records and answers success; decodes nothing.
#[derive(Clone)]
struct Sink(Arc<AtomicU64>);

impl tonic::server::UnaryService<Bytes> for Sink {
    type Response = Bytes;
    type Future = std::future::Ready<Result<tonic::Response<Bytes>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let items = tidegate::otlp::count(tidegate::otlp::Signal::Logs, request.get_ref()).unwrap_or(0);
        let items = u64::from(items);
        self.0.fetch_add(items, Ordering::Relaxed);
        std::future::ready(Ok(tonic::Response::new(Bytes::new())))
    }
}

async fn serve_sink() -> Result<(SocketAddr, Arc<AtomicU64>), Box<dyn Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let (address, delivered) = (listener.local_addr()?, Arc::new(AtomicU64::new(0)));
    let sink = Sink(Arc::clone(&delivered));
    let export = move |request: axum::extract::Request| async move {
        let mut grpc = tonic::server::Grpc::new(RawCodec)
            .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
            .max_decoding_message_size(64 << 20);
        grpc.unary(sink, request).await
    };
    let routes = tonic::service::Routes::from(axum::Router::new().route(EXPORT, axum::routing::post(export)));
    tokio::spawn(
        tonic::transport::Server::builder().add_routes(routes).serve_with_incoming(TcpListenerStream::new(listener)),
    );
    Ok((address, delivered))
}

/// The measured process; killed when dropped.
struct Agent {
    child: Child,
    port: u16,
}

impl Agent {
    fn start(binary: &Path, dir: &Path, sink: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = dir.join("agent.yaml");
        std::fs::write(&config, agent_config(port, sink))?;
        let child = Command::new(binary)
            .arg("run")
            .arg("--config")
            .arg(&config)
            .arg("--data-dir")
            .arg(dir.join("data"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("{}: {e}; build it with: cargo build --release", binary.display()))?;
        Ok(Self { child, port })
    }

    async fn connect(&self) -> Result<Channel, Box<dyn Error>> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", self.port))?;
        let start = Instant::now();
        loop {
            match endpoint.connect().await {
                Ok(channel) => return Ok(channel),
                Err(error) if start.elapsed() > Duration::from_secs(10) => return Err(error.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// User and system time so far: fields 14 and 15 of `/proc/PID/stat`, in ticks of 1/100 s.
    fn cpu_seconds(&self) -> Result<f64, Box<dyn Error>> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let after_name = stat.rsplit_once(')').ok_or("no name in /proc/PID/stat")?.1;
        let ticks: Result<Vec<u64>, _> = after_name.split_whitespace().skip(11).take(2).map(str::parse).collect();
        Ok(ticks?.iter().sum::<u64>() as f64 / 100.0)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(|_| ())) {
            eprintln!("ending the measured agent: {error}");
        }
    }
}

fn agent_config(port: u16, sink: SocketAddr) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '127.0.0.1:{port}' }} }} }} }}\n\
         exporters: {{ otlp: {{ endpoint: '{sink}', tls: {{ insecure: true }}, compression: none }} }}\n\
         service:\n  telemetry: {{ metrics: {{ level: none }} }}\n  pipelines: {{ logs: {{ receivers: [otlp], exporters: [otlp] }} }}\n"
    )
}

/// A request of `batch` records as an application writes them: a sentence, six attributes, ids.
fn request(batch: u64) -> Bytes {
    let text = |s: String| Some(AnyValue { value: Some(Value::StringValue(s)) });
    let attribute =
        |key: &str, value: String| KeyValue { key: key.to_owned(), value: text(value), ..Default::default() };
    let record = |i: u64| LogRecord {
        time_unix_nano: 1_780_000_000_000_000_000 + i,
        observed_time_unix_nano: 1_780_000_000_000_000_500 + i,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: text(format!(
            "request {i} from checkout finished with status 200 after {} ms and {} retries",
            i % 977,
            i % 3
        )),
        attributes: vec![
            attribute("http.request.method", "POST".to_owned()),
            attribute("url.path", format!("/api/v2/carts/{}/checkout", i % 100_000)),
            attribute("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36".to_owned()),
            attribute("server.address", "checkout-7f9c6d5b8-x2x7k".to_owned()),
            attribute("session.id", format!("{:032x}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15))),
            attribute("test.sequence", i.to_string()),
        ],
        trace_id: i.to_be_bytes().repeat(2),
        span_id: i.to_be_bytes().to_vec(),
        ..Default::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: (0..batch).map(record).collect(), ..Default::default() }];
    let request = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..Default::default() }] };
    Bytes::from(request.encode_to_vec())
}
