//! The memory of requests in flight. It outlives a reload: what the graph before still holds counts for the next.

use std::collections::BTreeMap;

use crate::config::{Id, Receiver};
use crate::receivers::otlp::Admission;

/// One budget for all receivers, and one for each that has its own.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    shared: Admission,
    /// With how many bytes it was made.
    own: BTreeMap<Id, (usize, Admission)>,
}

impl Budgets {
    /// Those of these receivers. A budget whose size did not change is the one that was.
    pub(super) fn of(receivers: &BTreeMap<Id, Receiver>, before: &Self) -> Self {
        let own = receivers.iter().filter_map(|(id, receiver)| {
            let Receiver::Otlp(settings) = receiver else { return None };
            let bytes = settings.limits.max_in_flight_bytes?;
            let same = before.own.get(id).filter(|(before, _)| *before == bytes).cloned();
            Some((id.clone(), same.unwrap_or_else(|| (bytes, Admission::new(bytes)))))
        });
        Self { shared: before.shared.clone(), own: own.collect() }
    }

    /// That of a receiver.
    pub(super) fn for_receiver(&self, id: &Id) -> Admission {
        self.own.get(id).map_or(&self.shared, |(_, own)| own).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::listen::Ports;
    use crate::otlp::Signal;
    use crate::receivers::Intake;
    use crate::receivers::otlp::{Endpoint, HttpSettings, Limits, Settings, bind};
    use crate::spool::{CursorOptions, Limit, Log, Need, Options, Spool, Start};

    const BYTES: usize = 3 << 10;

    fn settings(bytes: usize) -> Settings {
        let endpoint = Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
        let admission_timeout = Duration::from_millis(50);
        let limits = Limits { max_in_flight_bytes: Some(bytes), admission_timeout, ..Limits::default() };
        Settings { grpc: None, http: Some(HttpSettings { endpoint, ..HttpSettings::default() }), limits }
    }

    fn of(bytes: usize, before: &Budgets) -> Budgets {
        Budgets::of(&BTreeMap::from([(Id::new("otlp", ""), Receiver::Otlp(settings(bytes)))]), before)
    }

    /// A receiver with this budget.
    fn serve(budgets: &Budgets, log: &Log) -> SocketAddr {
        let bound = bind("otlp", &settings(BYTES), &mut Ports::default())
            .unwrap()
            .sharing(budgets.for_receiver(&Id::new("otlp", "")));
        let (address, intake) = (bound.http_addr().unwrap(), Intake::new(vec![(Signal::Logs, log.clone())]));
        tokio::spawn(bound.serve(intake.waiting_at(|_| true), std::future::pending()));
        address
    }

    /// Sends a request that takes all the memory of `BYTES`.
    fn send(to: SocketAddr) -> TcpStream {
        use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
        use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
        let log_records = vec![LogRecord { event_name: "x".repeat(BYTES), ..LogRecord::default() }];
        let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
        let body = prost::Message::encode_to_vec(&ExportLogsServiceRequest { resource_logs });
        let head = "POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n";
        let mut stream = TcpStream::connect(to).unwrap();
        stream.write_all(format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    fn status(to: SocketAddr) -> String {
        let mut answer = [0; 12];
        send(to).read_exact(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[9..]).into_owned()
    }

    fn until(is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < Duration::from_secs(10), "not within 10 s");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_in_flight_at_a_reload_counts_in_the_same_budget_unless_its_size_changed() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path(), Options::default()).unwrap();
        let [free, full] = ["free", "full"].map(|name| spool.log(name).unwrap());
        let max_pending = Some(Limit::Items(1));
        let options = CursorOptions { max_pending, ..CursorOptions::new(Start::Oldest, Need::Required) };
        let _cursor = full.cursor_with("c", options).unwrap();
        full.append_wait(1, bytes::Bytes::from_static(b"\x0a\x00"), 1).unwrap();

        let before = of(BYTES, &Budgets::default());
        let after = of(BYTES, &before);
        let other = of(2 * BYTES, &after);
        let in_flight = send(serve(&before, &full));
        let (after, other) = (serve(&after, &free), serve(&other, &free));
        tokio::task::block_in_place(|| {
            until(|| status(after) == "429");
            assert_eq!(status(other), "200");
            drop(in_flight);
            until(|| status(after) == "200");
        });
    }
}
