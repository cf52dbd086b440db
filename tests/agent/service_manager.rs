//! What a service manager is told.

use std::os::unix::net::UnixDatagram;

use rustix::process::Signal;

use crate::backend::nobody;
use crate::stage::{PATIENCE, Running, Stage, config, to};
use crate::support::Agent;

/// The next message that is not the watchdog's.
#[track_caller]
fn next(socket: &UnixDatagram) -> String {
    loop {
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).unwrap();
        let message = String::from_utf8(bytes[..length].to_vec()).unwrap();
        if message.trim() != "WATCHDOG=1" {
            return message;
        }
    }
}

#[test]
fn a_service_manager_is_told_of_the_start_of_reloads_of_the_stop_and_that_it_lives() {
    let stage = Stage::new();
    let path = stage.path("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    stage.configure(&[("otlp", to(nobody()))]);
    let agent = Agent::spawn(stage.run_command().env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000"));
    let running = Running::ready(agent);
    assert_eq!(next(&socket).trim(), "READY=1");
    for _ in 0..3 {
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).unwrap();
        assert_eq!(bytes[..length].trim_ascii(), b"WATCHDOG=1");
    }

    // A reload that is refused has ended, too.
    for text in [config(&[("otlp", to(nobody()))]), "receivers: [".to_owned()] {
        stage.write("agent.yaml", text);
        running.agent.signal(Signal::HUP);
        let message = next(&socket);
        let mut lines = message.lines();
        assert_eq!(lines.next(), Some("RELOADING=1"), "{message}");
        let since = lines.next().and_then(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap_or_default();
        assert!(since.parse::<u64>().is_ok_and(|micros| micros > 0), "{message}");
        assert_eq!(next(&socket).trim(), "READY=1");
    }
    running.agent.signal(Signal::TERM);
    assert_eq!(next(&socket).trim(), "STOPPING=1");
    let (status, said) = running.agent.wait_end(PATIENCE);
    assert!(status.success() && !said.contains("service manager"), "{said}");
}
