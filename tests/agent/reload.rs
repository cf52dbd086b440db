//! SIGHUP.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};

use prost::Message as _;
use rustix::process::Signal;

use crate::backend::{Backend, Mood, nobody};
use crate::client::{Client, bodies, request, send};
use crate::http;
use crate::stage::{PATIENCE, Running, Stage, config, to};
use crate::support::free_port;

/// Reloads, waits until the agent says this, and reads where it listens now.
#[track_caller]
fn reload(running: Running, answer: &str) -> Running {
    running.agent.signal(Signal::HUP);
    running.agent.wait_said(answer, PATIENCE);
    Running::listening(running.agent)
}

#[test]
fn a_new_exporter_starts_at_the_oldest_and_an_old_one_goes_on_where_it_was() {
    let stage = Stage::new();
    let (old, new) = (Backend::start(Mood::Take), Backend::start(Mood::Take));
    let running = stage.start(&[("otlp/old", to(old.address))]);
    send(running.grpc, &["before"]);
    old.wait_for(&["before"]);
    stage.configure(&[("otlp/old", to(old.address)), ("otlp/new", to(new.address))]);
    let running = reload(running, "reloaded in ");
    send(running.grpc, &["after"]);
    new.wait_for(&["before", "after"]);
    old.wait_for(&["after"]);
    assert_eq!(old.bodies(), ["before", "after"], "the old cursor was not kept");
    let said = running.agent.stderr();
    assert!(said.contains(&format!("exporter otlp/new: http://{} (logs)", new.address)), "{said}");
}

#[test]
fn a_password_that_was_right_is_not_hashed_again() {
    let stage = Stage::new();
    // Costs the agent some hundred times what the rest of a request does.
    let htpasswd = stage.write("htpasswd", format!("ann:{}\n", bcrypt::hash("right", 12).unwrap()));
    let text = config(&[("otlp", to(nobody()))])
        .replace(
            "http: { endpoint: 127.0.0.1:0 }",
            "http: { endpoint: 127.0.0.1:0, auth: { authenticator: basicauth } }",
        )
        .replace(
            "extensions:\n",
            &format!("extensions:\n  basicauth: {{ htpasswd: {{ file: {} }} }}\n", htpasswd.display()),
        )
        .replace("extensions: [", "extensions: [basicauth, ");
    stage.write("agent.yaml", text);
    let running = stage.start_again();
    // What a request costs the agent in seconds of a processor.
    let cost = |running: &Running| {
        let begun = processor_seconds(running);
        // ann:right
        let headers = "Content-Type: application/x-protobuf\r\nAuthorization: Basic YW5uOnJpZ2h0\r\n";
        let body = request(&["x"]).encode_to_vec();
        assert_eq!(http::request(running.http, "POST", "/v1/logs", headers, &body).status, 200);
        processor_seconds(running) - begun
    };
    let hashed = cost(&running);
    let running = reload(running, "reloaded in ");
    let remembered = cost(&running);
    assert!(remembered < hashed / 2.0, "{remembered} s, and {hashed} s with its hash");
}

fn processor_seconds(running: &Running) -> f64 {
    let scrape = http::get(running.metrics, "/metrics").text();
    let value = scrape.lines().find_map(|line| line.strip_prefix("otelcol_process_cpu_seconds "));
    value.unwrap().parse().unwrap()
}

#[test]
fn under_load_nothing_that_was_acknowledged_is_lost() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Take);
    // The ports stay, so that the clients find the agent again.
    let mut text = config(&[("otlp", to(backend.address))]);
    for _ in 0..2 {
        text = text.replacen("127.0.0.1:0", &format!("127.0.0.1:{}", free_port()), 1);
    }
    stage.write("agent.yaml", text);
    let running = stage.start_again();
    let (grpc, stop) = (running.grpc, AtomicBool::new(false));
    let (running, acked) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|client| {
                scope.spawn({
                    let stop = &stop;
                    move || until_stopped(&mut Client::of(grpc), client, stop)
                })
            })
            .collect();
        let mut running = running;
        for times in 1..=3 {
            backend.wait_for(&[format!("0 {}", times * 10)]);
            running.agent.signal(Signal::HUP);
            let said = || running.agent.stderr().lines().filter(|line| line.starts_with("reloaded in ")).count();
            crate::support::wait_for(PATIENCE, || (said() == times).then_some(())).expect("reloaded");
            running = Running::listening(running.agent);
        }
        stop.store(true, Ordering::Relaxed);
        (running, clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<String>>())
    });
    assert!(acked.len() > 100, "{}", acked.len());
    backend.wait_for(&acked);
    assert!(running.agent.stop(PATIENCE).0.success());
}

/// Sends until told to stop; what was acknowledged.
fn until_stopped(client: &mut Client, name: u64, stop: &AtomicBool) -> Vec<String> {
    let mut acked = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let body = format!("{name} {number}");
        // A request that meets the reload is refused or cut off; as a client does, it is sent again.
        while client.send(&[&body]).is_err() {
            std::thread::yield_now();
        }
        acked.push(body);
    }
    acked
}

#[test]
fn an_invalid_file_is_refused_with_its_faults_and_the_old_one_goes_on() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Take);
    let running = stage.start(&[("otlp", to(backend.address))]);
    stage.write("agent.yaml", config(&[("otlp", to(backend.address))]).replace("pipelines:", "pipelins:"));
    let running = reload(running, "reload refused");
    let said = running.agent.stderr();
    assert!(
        said.contains("pipelins") && said.contains("agent.yaml:") && said.contains("the old configuration goes on")
    );
    send(running.grpc, &["still here"]);
    backend.wait_for(&["still here"]);
}

#[test]
fn another_data_directory_needs_a_restart() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Take);
    let named = |directory: &str| {
        let text = config(&[("otlp", to(backend.address))]);
        let text =
            text.replace("extensions:\n", &format!("extensions:\n  disk_buffer: {{ directory: {directory} }}\n"));
        stage.write("agent.yaml", text.replace("extensions: [", "extensions: [disk_buffer, "));
    };
    named(stage.path("one").to_str().unwrap());
    let mut command = stage.tidegate(["run", "--config", "agent.yaml"]);
    let running = Running::ready(crate::support::Agent::spawn(&mut command));
    named(stage.path("two").to_str().unwrap());
    let running = reload(running, "restart needed");
    assert!(!stage.path("two").exists());
    send(running.grpc, &["still here"]);
    backend.wait_for(&["still here"]);
}

#[test]
fn other_limits_of_a_log_need_a_restart() {
    let stage = Stage::new();
    let limited = |size: &str| {
        let text = config(&[("otlp", to(nobody()))]);
        let text = text.replace(
            "extensions:\n",
            &format!("extensions:\n  disk_buffer: {{ logs: {{ logs: {{ max_size: {size} }} }} }}\n"),
        );
        stage.write("agent.yaml", text.replace("extensions: [", "extensions: [disk_buffer, "));
    };
    limited("1GiB");
    let running = stage.start_again();
    limited("2GiB");
    let running = reload(running, "restart needed");
    send(running.grpc, &["still here"]);
}

#[test]
fn a_port_that_cannot_be_had_brings_the_old_configuration_back() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Take);
    let running = stage.start(&[("otlp", to(backend.address))]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap();
    let text = config(&[("otlp", to(backend.address))]);
    stage.write("agent.yaml", text.replacen("127.0.0.1:0", &taken.to_string(), 1));
    let running = reload(running, "going back to the old configuration");
    let said = running.agent.wait_said("the old configuration runs", PATIENCE);
    assert!(!said.is_empty());
    let said = running.agent.stderr();
    assert!(said.contains(&format!("port {} is in use by ", taken.port())), "{said}");
    let running = Running::listening(running.agent);
    send(running.grpc, &["still here"]);
    backend.wait_for(&["still here"]);
}

#[test]
fn an_exporter_that_cannot_start_brings_the_old_configuration_back() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Take);
    let running = stage.start(&[("otlp", to(backend.address))]);
    let file = format!("{{ path: {}, create_directory: false }}", stage.path("none/out.jsonl").display());
    // Again and again: whether the cursor is free again in time must not be a matter of luck.
    for attempt in 1..=3 {
        stage.configure(&[("otlp", to(backend.address)), ("otlp/more", to(nobody())), ("file", file.clone())]);
        running.agent.signal(Signal::HUP);
        let back = || running.agent.stderr().lines().filter(|line| line.contains("the old configuration runs")).count();
        let came = crate::support::wait_for(PATIENCE, || (back() == attempt).then_some(()));
        assert!(came.is_some(), "{}", running.agent.stderr());
    }
    let running = Running::listening(running.agent);
    send(running.grpc, &["still here"]);
    backend.wait_for(&["still here"]);
}

#[test]
fn what_an_exporter_that_is_gone_had_pending_is_told() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Take);
    let running = stage.start(&[("otlp/gone", to(nobody()))]);
    send(running.grpc, &bodies("left", 3));
    stage.configure(&[("otlp/stays", to(backend.address))]);
    let running = reload(running, "reloaded in ");
    backend.wait_for(&bodies("left", 3));
    let said = running.agent.stderr();
    assert!(said.contains("otlp/gone") && said.contains("3 records"), "{said}");
}

/// Every port was shut for as long as a request or a backend took, 5 s at most.
#[test]
fn nobody_is_refused_while_a_stalled_client_or_backend_holds_up_a_reload() {
    for mood in [Mood::Take, Mood::Silent] {
        let stage = Stage::new();
        let backend = Backend::start(mood.clone());
        let running = stage.start(&[("otlp", to(backend.address))]);
        send(running.grpc, &["before"]);
        backend.wait_for_request();
        let body = request(&["stalled"]).encode_to_vec();
        let head = format!(
            "POST /v1/logs HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/x-protobuf\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stalled = http::connect(running.http);
        stalled.write_all(&[head.as_bytes(), &body[..1]].concat()).unwrap();
        // It is in the hands of the receiver.
        assert_eq!(http::get(running.health, "/").status, 200);

        let (grpc, over_http, health, metrics) = (running.grpc, running.http, running.health, running.metrics);
        running.agent.signal(Signal::HUP);
        let mut asked = 0;
        let until = std::time::Instant::now() + PATIENCE;
        while !running.agent.stderr().contains("reloaded in ") {
            assert!(std::time::Instant::now() < until, "{}", running.agent.stderr());
            // Each of them connects anew, and is answered. A server that goes may tell so before the request is there,
            // and then the client sends it again.
            let sent = Client::of(grpc).send(&[format!("meanwhile {asked}")]);
            assert!(sent.is_ok() || format!("{sent:?}").contains("GoAway"), "{sent:?}");
            assert_eq!(http::request(over_http, "GET", "/nothing", "", b"").status, 404);
            assert_eq!((http::get(health, "/").status, http::get(metrics, "/metrics").status), (200, 200));
            asked += 1;
        }
        stalled.write_all(&body[1..]).unwrap();
        let mut answer = String::new();
        stalled.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let now = Running::listening(running.agent);
        assert_eq!((now.grpc, now.http, now.health, now.metrics), (grpc, over_http, health, metrics));
        send(now.grpc, &["after"]);
        backend.set(Mood::Take);
        backend.wait_for(&["stalled", "after"]);
        let said = now.agent.stderr();
        let took = said.split("reloaded in ").nth(1).unwrap().split(' ').next().unwrap();
        assert!(matches!(mood, Mood::Silent) || took.parse::<u64>().unwrap() < 2000, "{took} ms");
    }
}
