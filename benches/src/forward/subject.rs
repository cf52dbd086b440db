//! What is measured, and how it is configured: the same pipeline, nothing given up for want of room or time.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where the Collector keeps what it has not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Queue {
    /// In memory: what it acknowledged is gone with the process.
    Memory,
    /// In a file, as it comes: without fsync.
    File,
    /// In a file, with fsync.
    FileFsync,
}

/// The way out.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Out {
    /// Compressed on the way out.
    #[arg(long)]
    pub(super) gzip: bool,
    /// Requests of tidegate in flight on the way out (`num_consumers`); the Collector has 10, as it comes.
    #[arg(long, default_value_t = 1)]
    consumers: u64,
}

impl Out {
    pub(super) const PLAIN: Self = Self { gzip: false, consumers: 1 };
}

/// A program in one configuration.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) binary: PathBuf,
    /// `None`: tidegate.
    queue: Option<Queue>,
}

impl Subject {
    pub(super) fn tidegate(binary: &Path) -> Self {
        Self { binary: binary.to_owned(), queue: None }
    }

    pub(super) fn collector(binary: &Path, queue: Queue) -> Self {
        Self { binary: binary.to_owned(), queue: Some(queue) }
    }

    pub(super) fn name(&self) -> &'static str {
        match self.queue {
            None => "tidegate, synced",
            Some(Queue::Memory) => "Collector, memory",
            Some(Queue::File) => "Collector, file",
            Some(Queue::FileFsync) => "Collector, file and fsync",
        }
    }

    pub(super) fn arguments(&self, dir: &Path) -> Vec<String> {
        let config = dir.join("config.yaml").display().to_string();
        match self.queue {
            None => vec!["run".to_owned(), "--config".to_owned(), config],
            Some(_) => vec!["--config".to_owned(), config],
        }
    }

    pub(super) fn config(&self, dir: &Path, port: u16, sink: SocketAddr, out: Out) -> String {
        let data = dir.join("data").display().to_string();
        let compression = if out.gzip { "gzip" } else { "none" };
        let (extensions, names, queue) = match self.queue {
            None => (
                format!("disk_buffer: {{ directory: '{data}' }}"),
                "disk_buffer",
                format!(", sending_queue: {{ num_consumers: {} }}", out.consumers),
            ),
            Some(Queue::Memory) => (String::new(), "", ", sending_queue: { queue_size: 1000000000 }".to_owned()),
            Some(queue) => (
                format!(
                    "file_storage: {{ directory: '{data}', create_directory: true, fsync: {} }}",
                    queue == Queue::FileFsync
                ),
                "file_storage",
                ", sending_queue: { queue_size: 1000000000, storage: file_storage }".to_owned(),
            ),
        };
        format!(
            "extensions: {{ {extensions} }}\n\
             receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '127.0.0.1:{port}' }} }} }} }}\n\
             exporters: {{ otlp: {{ endpoint: '{sink}', tls: {{ insecure: true }}, compression: {compression}, \
             retry_on_failure: {{ initial_interval: 100ms, max_interval: 1s, max_elapsed_time: 0s }}{queue} }} }}\n\
             service:\n  extensions: [{names}]\n  telemetry: {{ metrics: {{ level: none }}, logs: {{ level: error }} }}\n  \
             pipelines: {{ logs: {{ receivers: [otlp], exporters: [otlp] }} }}\n"
        )
    }
}
