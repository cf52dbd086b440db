//! Each MUST and SHOULD of the OTLP specification, put to tidegate and to the OpenTelemetry Collector. Needs the Collector that
//! `tests/run peer` builds. The answers stand in docs/conformance.md; TIDEGATE_CONFORMANCE=write writes it.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

#[path = "../support/backend.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod backend;
mod call;
mod generate;
mod json;
mod program;
mod receiving;
mod sending;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each test program uses a part of it")]
mod support;
mod table;

use std::path::Path;
use std::sync::Mutex;

use program::{Program, collector_version};
use table::{Answer, Duty, Row, Side, page};

/// Most of a question is waiting.
const AT_ONCE: usize = 4;

#[test]
#[allow(clippy::disallowed_methods, reason = "writes the page when asked to")]
fn each_duty_is_met_or_it_says_why_not() {
    let version = collector_version();
    let duties: Vec<Duty> = receiving::duties().into_iter().chain(sending::duties()).collect();
    let rows = ask_all(duties);
    let page = page(&rows, &version);
    println!("{page}");

    let silent: Vec<&str> =
        rows.iter().filter(|row| row.needs_a_reason() && row.duty.why.is_none()).map(|row| row.duty.text).collect();
    assert!(silent.is_empty(), "no reason is given why tidegate does otherwise: {silent:#?}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conformance.md");
    if std::env::var("TIDEGATE_CONFORMANCE").is_ok_and(|wish| wish == "write") {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    for (written, answered) in written.lines().zip(page.lines()) {
        assert_eq!(written, answered, "docs/conformance.md says something else");
    }
    assert_eq!(written.lines().count(), page.lines().count(), "docs/conformance.md has another length");
    println!("figure: {} duties asked of both", rows.len());
}

/// Asks every duty of both programs, in order.
fn ask_all(duties: Vec<Duty>) -> Vec<Row> {
    let count = duties.len();
    let left = Mutex::new(duties.into_iter().enumerate());
    let rows = Mutex::new((0..count).map(|_| None).collect::<Vec<Option<Row>>>());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((at, duty)) = left.lock().unwrap().next() else { break };
                    let row = ask(duty);
                    rows.lock().unwrap()[at] = Some(row);
                }
            });
        }
    });
    rows.into_inner().unwrap().into_iter().flatten().collect()
}

fn ask(duty: Duty) -> Row {
    let tidegate = ask_tidegate(&duty);
    let collector = (duty.ask)(Program::Collector);
    Row { duty, tidegate, collector }
}

/// A client that departs from the letter is asked again with the setting that keeps it to it.
fn ask_tidegate(duty: &Duty) -> Answer {
    let answer = (duty.ask)(Program::Tidegate);
    if answer.is_met || duty.side == Side::Server {
        return answer;
    }
    let by_the_letter = (duty.ask)(Program::TidegateByTheLetter);
    if by_the_letter.said == answer.said {
        return answer;
    }
    Answer { said: format!("{}; with `permanent_errors: park`: {}", answer.said, by_the_letter.said), ..answer }
}
