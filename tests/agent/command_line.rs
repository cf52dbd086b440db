//! What is typed, what is shown, and the exit code.

use crate::stage::{Stage, config, done, refused, to};

const COMMANDS: [&[&str]; 8] = [
    &["run"],
    &["validate"],
    &["components"],
    &["doctor"],
    &["tail"],
    &["spool"],
    &["spool", "inspect"],
    &["spool", "verify"],
];

#[test]
fn every_command_explains_itself() {
    let stage = Stage::new();
    for command in COMMANDS {
        let short = stage.run(command.iter().copied().chain(["-h"]));
        let long = stage.run(command.iter().copied().chain(["--help"]));
        for help in [&short, &long] {
            assert_eq!((help.code, &*help.stderr), (Some(0), ""), "{command:?}");
            let (first, usage) = (help.stdout.lines().next().unwrap(), help.stdout.contains("Usage: tidegate "));
            assert!(usage && first.len() > 10 && !first.starts_with("Usage"), "{command:?}\n{}", help.stdout);
            let widest = help.stdout.lines().max_by_key(|line| line.chars().count()).unwrap();
            assert!(widest.chars().count() <= 120, "{command:?}: {widest}");
            assert!(help.stdout.contains("--data-dir"), "{command:?}");
        }
        assert!(long.stdout.contains("Examples:") || command == ["spool"], "{command:?}\n{}", long.stdout);
    }
}

#[test]
fn the_help_and_the_version_are_no_errors() {
    let stage = Stage::new();
    for arguments in [&["--help"][..], &["-h"], &["help"], &["help", "run"], &["--version"], &["run", "--version"]] {
        let done = stage.run(arguments);
        assert_eq!((done.code, &*done.stderr), (Some(0), ""), "{arguments:?}");
    }
    assert_eq!(stage.run(["--version"]).stdout, format!("tidegate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_is_mistyped_exits_with_2_and_says_what_was_meant() {
    let stage = Stage::new();
    for (arguments, says) in [
        (&["vaildate"][..], "validate"),
        (&["run", "--cofnig", "a"], "--config"),
        (&["run", "--shutdown-timeout", "soon"], "5s"),
        (&["run", "--shutdown-timeout=-1s"], "--shutdown-timeout"),
        (&["tail", "--from", "yesterday"], "oldest"),
        (&["tail", "--output", "xml"], "json"),
        (&["tail", "-n", "many"], "--lines"),
        (&["spool"], "inspect"),
        (&[], "run"),
    ] {
        let done = stage.run(arguments);
        assert_eq!((done.code, &*done.stdout), (Some(2), ""), "{arguments:?} {done:?}");
        assert!(done.stderr.contains(says), "{arguments:?}: {says}: {}", done.stderr);
    }
}

#[test]
fn a_configuration_with_faults_exits_with_2_and_shows_all_of_them() {
    let stage = Stage::new();
    let text = config(&[("otlp", to(crate::backend::nobody()))]);
    stage.write("agent.yaml", text.replace("retry_on_failure", "retry_on_failur").replace("logs:", "lgos:"));
    for command in [&["run", "--config", "agent.yaml"][..], &["validate", "agent.yaml"], &["tail", "-c", "agent.yaml"]]
    {
        let done = stage.run(command);
        assert_eq!(done.code, Some(2), "{command:?} {done:?}");
        let said = done.stdout + &done.stderr;
        for part in ["retry_on_failur", "lgos", "agent.yaml:", "help: "] {
            assert!(said.contains(part), "{command:?}: {part}: {said}");
        }
    }
}

#[test]
fn a_configuration_that_cannot_be_read_exits_with_2_and_names_the_file() {
    let stage = Stage::new();
    stage.write("bad.yaml", "receivers: [\n");
    stage.write("binary.yaml", [0xff, 0xfe, 0x00]);
    stage.write("empty.yaml", "");
    for file in ["none.yaml", "bad.yaml", "binary.yaml", "empty.yaml", "."] {
        let (code, said) = refused(&mut stage.tidegate(["run", "--config", file]));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(file) && said.contains("error: "), "{said}");
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a file that is always full")]
fn standard_output_that_is_closed_is_no_crash() {
    let stage = Stage::new();
    for command in [&["components"][..], &["validate"], &["run", "--print-default-config"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut tidegate = stage.tidegate(command);
        let output = tidegate.stdout(writer).stderr(std::process::Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{command:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{command:?}");
    }
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut tidegate = stage.tidegate(["components"]);
    let output = tidegate.stdout(full).stderr(std::process::Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("standard output: No space left on device"), "{said}");
}

#[test]
fn validate_speaks_json_to_programs() {
    let stage = Stage::new();
    let text = config(&[("otlp", to(crate::backend::nobody()))]);
    stage.write("good.yaml", &text);
    stage.write("bad.yaml", text.replace("retry_on_failure", "retry_on_failur"));
    let good = stage.run(["validate", "good.yaml", "--output", "json"]);
    assert_eq!(
        (good.code, &good.json()["valid"], &good.json()["errors"]),
        (Some(0), &true.into(), &serde_json::json!([]))
    );
    let bad = done(stage.tidegate(["validate", "bad.yaml", "--output", "json"]).env("A", "b"));
    assert_eq!((bad.code, &bad.json()["valid"]), (Some(2), &false.into()));
    let error = &bad.json()["errors"][0];
    assert!(error["file"].as_str().unwrap().ends_with("bad.yaml"), "{error}");
    assert_eq!(error["line"], 4, "{error}");
    assert!(error["column"].is_number() && error["path"].is_string() && error["message"].is_string(), "{error}");
    assert!(error["suggestion"].as_str().unwrap().contains("retry_on_failure"), "{error}");
}
