//! One receiver for all tests of this binary, with a real log behind it, and the records that came out of that log.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Condvar, LazyLock, Mutex, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use prost::Message;
use tidegate::otlp::Signal;
use tidegate::receivers::Intake;
use tidegate::receivers::kernel::{self, EventSettings, HookReport, Running, Settings};
use tidegate::spool::{Cursor, Log, Need, Options, Spool, Start};

/// How long an event may take from the kernel to the log. The emulator is slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// One log record, flattened.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub name: String,
    pub scope: String,
    pub severity: i32,
    pub time: u64,
    pub observed: u64,
    pub body: String,
    pub attributes: BTreeMap<String, Value>,
    /// One for all records of a request: a storm of drops is kept for each agent.
    pub resource: Arc<BTreeMap<String, Value>>,
}

impl Record {
    #[track_caller]
    pub(crate) fn text(&self, key: &str) -> &str {
        match self.attributes.get(key) {
            Some(Value::StringValue(text)) => text,
            other => panic!("{key} is {other:?} in {}", self.show()),
        }
    }

    #[track_caller]
    pub(crate) fn int(&self, key: &str) -> i64 {
        self.maybe_int(key).unwrap_or_else(|| panic!("no number {key} in {}", self.show()))
    }

    pub(crate) fn maybe_int(&self, key: &str) -> Option<i64> {
        match self.attributes.get(key) {
            Some(Value::IntValue(number)) => Some(*number),
            _ => None,
        }
    }

    #[track_caller]
    pub(crate) fn seconds(&self, key: &str) -> f64 {
        match self.attributes.get(key) {
            Some(Value::DoubleValue(number)) => *number,
            other => panic!("{key} is {other:?} in {}", self.show()),
        }
    }

    #[track_caller]
    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        match self.attributes.get(key) {
            Some(Value::ArrayValue(array)) => array.values.iter().cloned().map(|value| text(Some(value))).collect(),
            other => panic!("{key} is {other:?} in {}", self.show()),
        }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.attributes.contains_key(key)
    }

    pub(crate) fn show(&self) -> String {
        let mut text = format!("{} [{}] {}\n", self.name, self.severity, self.body);
        for (key, value) in &self.attributes {
            writeln!(text, "    {key} = {value:?}").expect("writing to a string");
        }
        text
    }
}

/// A receiver and what it wrote. It stops when it is dropped: what runs on sees, and keeps, every storm of the other tests.
pub(crate) struct Agent {
    pub reports: Vec<HookReport>,
    running: Mutex<Option<Running>>,
    log: Log,
    _spool: Spool,
    _directory: tempfile::TempDir,
    records: Mutex<Vec<Record>>,
    arrived: Condvar,
    read_to: Mutex<u64>,
    read_on: Condvar,
}

/// The receiver that most tests share.
pub(crate) fn agent() -> &'static Agent {
    static AGENT: LazyLock<Arc<Agent>> = LazyLock::new(|| Agent::start(&generous()));
    &AGENT
}

/// No test may be disturbed by what others, or other programs, trigger.
pub(crate) fn generous() -> Settings {
    let event = || EventSettings { enabled: true, max_per_second: 0 };
    let mut settings = Settings {
        command_line: true,
        oom_kill: event(),
        process_crash: event(),
        tcp_retransmit: event(),
        ..Settings::default()
    };
    settings.packet_drop.event = event();
    settings.task_hung.event = event();
    // Other tests make storms of drops, and every receiver sees them all.
    settings.rings.bulk = 4 << 20;
    settings
}

impl Agent {
    pub(crate) fn start(settings: &Settings) -> Arc<Self> {
        let probes = kernel::attach(settings);
        Self::start_probes(probes)
    }

    pub(crate) fn start_probes(probes: kernel::Probes) -> Arc<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let spool = Spool::open(directory.path(), Options::default()).expect("a spool");
        let log = spool.log("kernel").expect("a log");
        let reports = probes.reports().to_vec();
        let running = probes.start(intake(&log)).expect("a thread");
        let cursor = log.cursor("test", Start::Oldest, Need::Required).expect("a cursor");
        let agent = Arc::new(Self {
            reports,
            running: Mutex::new(Some(running)),
            log,
            _spool: spool,
            _directory: directory,
            records: Mutex::default(),
            arrived: Condvar::new(),
            read_to: Mutex::default(),
            read_on: Condvar::new(),
        });
        let reader = Arc::downgrade(&agent);
        std::thread::spawn(move || collect(&reader, cursor));
        agent
    }

    /// Changes the settings of the running receiver, with an intake of its own as a reload of the agent makes one.
    pub(crate) fn reload(&self, settings: &Settings) {
        self.running.lock().expect("lock").as_mut().expect("still running").reload(settings, intake(&self.log));
    }

    /// Stops the receiver and waits until all that it stored is read.
    pub(crate) fn stop(&self) {
        let running = self.running.lock().expect("lock").take().expect("still running");
        assert_eq!(running.stop().unstored_records, 0);
    }

    /// As `stop`, and waits until what was stored is read.
    pub(crate) fn stop_and_read(&self) {
        self.stop();
        let last = self.log.durable_sequence();
        let mut read = self.read_to.lock().expect("lock");
        while *read < last {
            read = self.read_on.wait_timeout(read, PATIENCE).expect("lock").0;
        }
    }

    /// Takes what the log has.
    fn read(&self, cursor: &mut Cursor) {
        while let Some(batch) = cursor.next_batch(1 << 20).expect("a readable log") {
            let read = batch.frames.iter().flat_map(|frame| decode(&frame.payload, frame.items));
            self.records.lock().expect("lock").extend(read);
            if let Some(last) = batch.frames.last() {
                *self.read_to.lock().expect("lock") = last.sequence;
            }
            self.read_on.notify_all();
            self.arrived.notify_all();
        }
    }

    /// The first record of an event that fits; panics with what did come when none does in time.
    #[track_caller]
    pub(crate) fn wait(&self, name: &str, fits: impl Fn(&Record) -> bool) -> Record {
        self.wait_n(name, 1, fits).remove(0)
    }

    /// The first `n` records of an event that fit.
    #[track_caller]
    pub(crate) fn wait_n(&self, name: &str, n: usize, fits: impl Fn(&Record) -> bool) -> Vec<Record> {
        let deadline = Instant::now() + PATIENCE;
        let mut records = self.records.lock().expect("lock");
        loop {
            let found: Vec<_> = records.iter().filter(|record| record.name == name && fits(record)).cloned().collect();
            if found.len() >= n {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let near: String =
                    records.iter().rev().filter(|record| record.name == name).take(5).map(Record::show).collect();
                // Others must still be able to look.
                drop(records);
                panic!(
                    "{} of {n} fitting {name} came; reports: {:?}; last of that name:\n{near}",
                    found.len(),
                    self.reports
                );
            }
            records = self.arrived.wait_timeout(records, left).expect("lock").0;
        }
    }

    /// All that came so far.
    pub(crate) fn all(&self, name: &str, fits: impl Fn(&Record) -> bool) -> Vec<Record> {
        let records = self.records.lock().expect("lock");
        records.iter().filter(|record| record.name == name && fits(record)).cloned().collect()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // A test that failed may have left the lock poisoned: nothing is asked of the receiver then.
        if let Some(running) = self.running.get_mut().ok().and_then(Option::take) {
            let _unstored = running.stop();
        }
    }
}

/// Reads on for as long as somebody has the agent.
fn collect(agent: &Weak<Agent>, mut cursor: Cursor) {
    while let Some(agent) = agent.upgrade() {
        agent.read(&mut cursor);
        drop(agent);
        // On a time-out the loop looks all the same.
        let _readable: bool = cursor.wait_readable(Duration::from_millis(100));
    }
}

fn intake(log: &Log) -> Intake {
    Intake::new(vec![(Signal::Logs, log.clone())])
}

fn decode(payload: &[u8], items: u32) -> Vec<Record> {
    let request = ExportLogsServiceRequest::decode(payload).expect("an OTLP request");
    let mut records = Vec::new();
    for resource_logs in request.resource_logs {
        let resource = Arc::new(flat(resource_logs.resource.expect("a resource").attributes));
        for scope_logs in resource_logs.scope_logs {
            let scope = scope_logs.scope.expect("a scope").name;
            records.extend(scope_logs.log_records.into_iter().map(|record| Record {
                name: record.event_name,
                scope: scope.clone(),
                severity: record.severity_number,
                time: record.time_unix_nano,
                observed: record.observed_time_unix_nano,
                body: text(record.body),
                attributes: flat(record.attributes),
                resource: Arc::clone(&resource),
            }));
        }
    }
    assert_eq!(records.len(), items as usize, "the item count of the frame");
    records
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        other => panic!("a body that is {other:?}"),
    }
}

fn flat(attributes: Vec<KeyValue>) -> BTreeMap<String, Value> {
    let mut flat = BTreeMap::new();
    for attribute in attributes {
        let value = attribute.value.and_then(|value| value.value).expect("a value");
        assert_ne!(value, Value::StringValue(String::new()), "{} is empty", attribute.key);
        assert!(flat.insert(attribute.key.clone(), value).is_none(), "{} is there twice", attribute.key);
    }
    flat
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(since.as_nanos()).expect("a clock before 2554")
}

/// What every record of a kernel event must have; `began` and `ended` are around what triggered it.
#[track_caller]
pub(crate) fn check_common(record: &Record, severity: i32, hook: &str, began: u64, ended: u64) {
    let show = record.show();
    assert_eq!(record.severity, severity, "{show}");
    assert_eq!(record.scope, "tidegate.kernel", "{show}");
    assert_eq!(record.text("kernel.hook.name"), hook);
    assert!(record.int("kernel.hook.sequence") > 0, "{show}");
    assert!(!record.body.is_empty() && !record.body.contains('\n'), "{show}");
    // A millisecond for the measurement of the two clocks against each other.
    let slack = 1_000_000;
    assert!(began <= record.time + slack && record.time <= ended + slack, "{began} {} {ended}", record.time);
    assert!(record.time <= record.observed + slack, "{show}");
    let uid = record.text("log.record.uid");
    assert_eq!(uid.len(), 26, "{uid}");
    let millis = uid.bytes().take(10).fold(0_u64, |sum, c| {
        sum * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".bytes().position(|d| d == c).expect("Crockford") as u64
    });
    assert_eq!(millis, record.time / 1_000_000, "the ULID's time is the event's");
    let resource = |key: &str| match record.resource.get(key) {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("{key} is {other:?} in the resource"),
    };
    assert_eq!(resource("service.name"), "tidegate");
    assert_eq!(resource("os.type"), "linux");
    let read = |path: &str| std::fs::read_to_string(path).expect(path).trim().to_owned();
    assert_eq!(resource("kernel.release"), read("/proc/sys/kernel/osrelease"));
    assert_eq!(resource("kernel.boot_id"), read("/proc/sys/kernel/random/boot_id"));
    assert_eq!(resource("host.name"), read("/proc/sys/kernel/hostname"));
    assert_eq!(resource("service.version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(resource("host.arch"), if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" });
    // The guests have none.
    let machine = std::fs::read_to_string("/etc/machine-id").ok().map(|id| id.trim().to_owned());
    assert_eq!(
        record.resource.contains_key("host.id").then(|| resource("host.id")),
        machine.filter(|id| !id.is_empty())
    );
}

/// Whether this is Linux `major.minor` or later: some facts are told only since.
pub(crate) fn kernel_since(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("osrelease");
    let mut parts = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (parts.next().expect("a major number"), parts.next().expect("a minor number")) >= (major, minor)
}
