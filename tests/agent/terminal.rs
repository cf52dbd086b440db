//! What a person sees: questions, progress and colours are for a terminal.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::mpsc;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::backend::{Backend, Mood, nobody};
use crate::client::{bodies, send};
use crate::stage::{PATIENCE, Stage, to};
use crate::support::wait_for;

const CURSOR: &str = "logs:otlp";
const QUESTION: &str = "Go on? [y/N] ";

/// What a command on a terminal did.
#[derive(Debug)]
struct Shown {
    code: Option<i32>,
    screen: String,
}

/// Runs a command on a terminal of its own; once it has shown `question`, what `answer` says is typed.
#[track_caller]
fn on_a_terminal(command: &mut Command, question: &str, answer: impl FnOnce() -> &'static str) -> Shown {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    tcsetwinsize(&master, Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let slave = || rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    command.env("TERM", "xterm").stdin(slave()).stdout(slave()).stderr(slave());
    let mut child = command.spawn().unwrap();
    // The command's own ends: the screen ends when the last of them is closed.
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());

    let screen = watch(rustix::io::dup(&master).unwrap());
    let mut shown = String::new();
    let mut keyboard = std::fs::File::from(master);
    let mut answer = Some(answer).filter(|_| !question.is_empty());
    while let Ok(part) = screen.recv_timeout(PATIENCE) {
        shown.push_str(&part);
        if shown.contains(question)
            && let Some(answer) = answer.take()
        {
            keyboard.write_all(answer().as_bytes()).unwrap();
        }
    }
    assert!(answer.is_none(), "it did not ask {question:?}: {shown}");
    Shown { code: child.wait().unwrap().code(), screen: shown }
}

/// What appears, as it appears.
fn watch(master: OwnedFd) -> mpsc::Receiver<String> {
    let (parts, screen) = mpsc::sync_channel(16);
    std::thread::spawn(move || {
        let (mut master, mut part) = (std::fs::File::from(master), [0; 4096]);
        // A terminal that nobody has open any more ends with EIO.
        while let Ok(n @ 1..) = master.read(&mut part) {
            if parts.send(String::from_utf8_lossy(&part[..n]).into_owned()).is_err() {
                return;
            }
        }
    });
    screen
}

/// A stage whose log holds so many records of this size that nobody took.
fn with_a_backlog(records: usize, size: usize) -> Stage {
    let stage = Stage::new();
    let running = stage.start(&[("otlp", to(nobody()))]);
    let padding = "x".repeat(size);
    let sent: Vec<String> = (0..records).map(|n| format!("{n} {padding}")).collect();
    send(running.grpc, &sent);
    assert!(running.agent.stop(PATIENCE).0.success());
    stage
}

/// What the log's only cursor tells.
fn cursor(stage: &Stage) -> serde_json::Value {
    stage.look(&["spool", "cursor", "list", "--log", "logs", "--output", "json"]).json()[0].take()
}

#[test]
fn a_person_is_asked_before_data_is_skipped_and_only_yes_is_yes() {
    let stage = with_a_backlog(5, 10);
    let asked = |arguments: &[&str], answer| on_a_terminal(&mut stage.look_command(arguments), QUESTION, || answer);
    let skip = ["spool", "cursor", "move", CURSOR, "--to", "newest"];
    for answer in ["n\n", "\n", "yep\n", "\u{4}"] {
        let seen = asked(&skip, answer);
        assert!(seen.screen.contains("5 records would be skipped"), "{seen:?}");
        assert!(seen.code == Some(1) && seen.screen.contains("nothing was changed"), "{answer:?}: {seen:?}");
        assert_eq!(cursor(&stage)["skipped_records"], 0, "{answer:?} moved it");
    }
    let seen = asked(&["spool", "cursor", "remove", CURSOR], "n\n");
    assert!(seen.code == Some(1) && seen.screen.contains("nothing was changed"), "{seen:?}");
    let seen = asked(&skip, "y\n");
    assert_eq!((seen.code, &cursor(&stage)["skipped_records"]), (Some(0), &5.into()), "{seen:?}");
}

/// They went with the others, although nobody had been asked about them.
#[test]
fn what_comes_while_a_person_thinks_is_not_skipped() {
    let stage = Stage::new();
    let address = nobody();
    let running = stage.start(&[("otlp", to(address))]);
    send(running.grpc, &bodies("before", 5));
    let mut skip = stage.look_command(&["spool", "cursor", "move", CURSOR, "--to", "newest"]);
    let seen = on_a_terminal(&mut skip, QUESTION, || {
        send(running.grpc, &bodies("meanwhile", 3));
        "y\n"
    });
    assert!(seen.code == Some(0) && seen.screen.contains("5 records skipped"), "{seen:?}");
    let backend = Backend::at(address, Mood::Take);
    backend.wait_for(&bodies("meanwhile", 3));
    assert_eq!(backend.bodies(), bodies("meanwhile", 3));

    // All that is asked about is delivered meanwhile, and more.
    backend.set(Mood::Refuse(tonic::Code::Unavailable, "away"));
    send(running.grpc, &bodies("delivered", 2));
    let mut skip = stage.look_command(&["spool", "cursor", "move", CURSOR, "--to", "newest"]);
    let seen = on_a_terminal(&mut skip, QUESTION, || {
        backend.set(Mood::Take);
        send(running.grpc, &bodies("after", 1));
        backend.wait_for(&bodies("after", 1));
        wait_for(PATIENCE, || (cursor(&stage)["pending_records"] == 0).then_some(())).expect("all delivered");
        "y\n"
    });
    assert!(seen.code == Some(0) && seen.screen.contains("nothing skipped, nothing sent again"), "{seen:?}");
    assert!(running.agent.stop(PATIENCE).0.success());
}

#[test]
fn verify_draws_its_progress_on_a_terminal_alone() {
    let stage = with_a_backlog(64, 100_000);
    let seen = on_a_terminal(&mut stage.look_command(&["spool", "verify"]), "", || "");
    assert_eq!(seen.code, Some(0), "{seen:?}");
    // Done, of how much, how fast; the last of it is wiped away.
    let (drawn, left) = seen.screen.rsplit_once("\u{1b}[2K").unwrap_or_else(|| panic!("{seen:?}"));
    for part in [" of 6.", "MiB", "/s, ", " left"] {
        assert!(drawn.contains(part), "{part:?}: {seen:?}");
    }
    assert!(left.contains("64 frames") && !left.contains(" of 6."), "{seen:?}");
    let elsewhere = stage.look(&["spool", "verify"]);
    assert_eq!((elsewhere.code, &*elsewhere.stderr), (Some(0), ""));
}

#[test]
fn an_export_to_a_file_draws_its_progress_on_a_terminal_alone() {
    let stage = with_a_backlog(64, 100_000);
    let export = |name| ["spool", "export", "--log", "logs", "--file", name];
    let seen = on_a_terminal(&mut stage.look_command(&export("seen.jsonl")), "", || "");
    let (drawn, left) = seen.screen.rsplit_once("\u{1b}[2K").unwrap_or_else(|| panic!("{seen:?}"));
    assert!(seen.code == Some(0) && drawn.contains(" of at most 64 records, "), "{seen:?}");
    assert!(left.contains("64 records") && !left.contains(" of at most "), "{seen:?}");
    let elsewhere = stage.look(&export("elsewhere.jsonl"));
    assert!(elsewhere.code == Some(0) && elsewhere.stderr.is_empty(), "{elsewhere:?}");
}

#[test]
fn colours_are_for_a_terminal_that_wants_them() {
    let stage = with_a_backlog(1, 10);
    let coloured = on_a_terminal(&mut stage.look_command(&["spool", "inspect"]), "", || "");
    assert!(coloured.code == Some(0) && coloured.screen.contains("\u{1b}[1m"), "{coloured:?}");
    let plain = on_a_terminal(stage.look_command(&["spool", "inspect"]).env("NO_COLOR", "1"), "", || "");
    assert!(plain.code == Some(0) && !plain.screen.contains('\u{1b}'), "{plain:?}");
    let piped = stage.look(&["spool", "inspect"]);
    assert!(piped.code == Some(0) && !piped.stdout.contains('\u{1b}'), "{piped:?}");
}

#[test]
fn dead_letters_that_are_sent_again_show_where_they_are_on_a_terminal() {
    let stage = Stage::new();
    let backend = Backend::start(Mood::Refuse(tonic::Code::InvalidArgument, "bad data"));
    let running = stage.start(&[("otlp", to(backend.address))]);
    let sent = bodies("bad", 4);
    send(running.grpc, &sent);
    wait_for(PATIENCE, || (cursor(&stage)["parked_records"] == 4).then_some(())).expect("four dead letters");
    backend.set(Mood::Take);
    let seen = on_a_terminal(&mut stage.look_command(&["spool", "replay", CURSOR, "--dead-letters"]), "", || "");
    assert!(seen.code == Some(0) && seen.screen.contains("4 records sent again"), "{seen:?}");
    assert!(seen.screen.contains(" of 4 records, "), "{seen:?}");
    backend.wait_for(&sent);
    assert!(running.agent.stop(PATIENCE).0.success());
}
