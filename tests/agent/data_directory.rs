//! Where the data is, and what is wrong with where it should be.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::backend::nobody;
use crate::client::send;
use crate::stage::{PATIENCE, Stage, config, done, is_root, mode, refused, to};
use crate::support::Agent;

/// The data directory that a command settles on.
fn chosen(stage: &Stage, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = stage.tidegate(["validate"]);
    let done = done(command.args(arguments).envs(environment.iter().copied()));
    assert_eq!(done.code, Some(0), "{done:?}");
    done.stdout.lines().find_map(|line| line.strip_prefix("  data: ")).expect("a line with the data").to_owned()
}

#[test]
fn the_flag_wins_then_the_environment_then_the_file_then_the_default() {
    let stage = Stage::ordinary();
    let text = config(&[("otlp", to(nobody()))]);
    let named = text.replace("extensions:\n", "extensions:\n  disk_buffer: { directory: /of/the/file }\n");
    let named = named.replace("extensions: [", "extensions: [disk_buffer, ");
    stage.write("named.yaml", named);
    let variable = ("TIDEGATE_DATA_DIR", "/of/the/environment");
    let state = ("XDG_STATE_HOME", "/of/the/user");
    let flag = ["--config", "named.yaml", "--data-dir", "/of/the/flag"];
    assert_eq!(chosen(&stage, &flag, &[variable, state]), "/of/the/flag");
    assert_eq!(chosen(&stage, &flag[..2], &[variable, state]), "/of/the/environment");
    assert_eq!(chosen(&stage, &flag[..2], &[state]), "/of/the/file");
    assert_eq!(chosen(&stage, &[], &[state]), "/of/the/user/tidegate");
    assert_eq!(chosen(&stage, &[], &[]), stage.path(".local/state/tidegate").to_str().unwrap());
    if is_root() {
        assert_eq!(chosen(&Stage::new(), &[], &[state]), "/var/lib/tidegate");
    }
}

#[test]
fn every_command_takes_it() {
    let stage = Stage::new();
    let running = stage.start(&[("otlp", to(nobody()))]);
    send(running.grpc, &["here"]);
    for command in [&["tail"][..], &["spool", "inspect"], &["spool", "verify"]] {
        let by_flag = done(stage.tidegate(command).arg("--data-dir").arg(stage.data()));
        let by_variable = done(stage.tidegate(command).env("TIDEGATE_DATA_DIR", stage.data()));
        assert_eq!((by_flag.code, by_variable.code), (Some(0), Some(0)), "{command:?} {by_flag:?} {by_variable:?}");
        assert!(by_flag.stdout.contains("logs") || by_flag.stdout.contains("here"), "{by_flag:?}");
    }
}

#[test]
fn it_is_made_with_its_parents_for_its_owner_alone() {
    let stage = Stage::new();
    stage.configure(&[("otlp", to(nobody()))]);
    let data = stage.path("new/and/deep");
    let mut command = stage.tidegate(["run", "--config", "agent.yaml", "--data-dir"]);
    let mut agent = Agent::spawn(command.arg(&data));
    agent.wait_ready(PATIENCE);
    assert!(agent.stop(PATIENCE).0.success());
    assert_eq!(mode(&data), 0o700);
    private(&data);
}

/// Nothing in the directory is open to others.
fn private(directory: &Path) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{} is {:o}", path.display(), mode(&path));
        if path.is_dir() {
            private(&path);
        }
    }
}

/// Starts an agent that cannot have its directory: what it says.
#[track_caller]
fn unusable(stage: &Stage) -> String {
    let (code, said) = refused(&mut stage.run_command());
    assert_eq!(code, Some(1), "{said}");
    said
}

#[test]
fn one_that_another_process_owns_is_refused_with_the_owners_pid() {
    let stage = Stage::new();
    let running = stage.start(&[("otlp", to(nobody()))]);
    let said = unusable(&stage);
    assert!(said.contains(&format!("process {}", running.agent.pid())), "{said}");
    assert!(said.contains(stage.data().to_str().unwrap()), "{said}");
    send(running.grpc, &["the first goes on"]);
}

#[test]
fn one_that_a_killed_process_owned_is_free() {
    let stage = Stage::new();
    stage.start(&[("otlp", to(nobody()))]).agent.kill();
    stage.start_again();
}

#[test]
fn a_file_in_its_place_is_named() {
    let stage = Stage::new();
    stage.configure(&[("otlp", to(nobody()))]);
    stage.write("data", "precious");
    let said = unusable(&stage);
    assert!(said.contains(stage.data().to_str().unwrap()), "{said}");
    assert!(said.contains("not a directory") || said.contains("Not a directory"), "{said}");
    assert_eq!(std::fs::read_to_string(stage.data()).unwrap(), "precious");
}

#[test]
fn a_symbolic_link_in_its_place_is_refused() {
    let stage = Stage::new();
    stage.configure(&[("otlp", to(nobody()))]);
    std::fs::create_dir(stage.path("elsewhere")).unwrap();
    symlink(stage.path("elsewhere"), stage.data()).unwrap();
    let said = unusable(&stage);
    assert!(said.contains("symbolic link") && said.contains(stage.data().to_str().unwrap()), "{said}");
    assert_eq!(std::fs::read_dir(stage.path("elsewhere")).unwrap().count(), 0);
}

#[test]
fn one_that_may_not_be_written_is_refused_with_what_to_do() {
    let stage = Stage::ordinary();
    stage.configure(&[("otlp", to(nobody()))]);
    // Nobody may write here but root, as whom the command does not run.
    let directory = "/usr/lib/tidegate-data";
    let (code, said) = refused(&mut stage.tidegate(["run", "--config", "agent.yaml", "--data-dir", directory]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(directory) && said.contains("Permission denied"), "{said}");
    assert!(said.contains("help: ") && said.contains("--data-dir"), "{said}");
}

#[test]
fn looking_into_a_directory_that_is_not_there_says_what_to_do() {
    let stage = Stage::new();
    for command in [&["tail"][..], &["spool", "inspect"], &["spool", "verify"]] {
        let done = stage.look(command);
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(done.stderr.contains(stage.data().to_str().unwrap()), "{done:?}");
        assert!(done.stderr.contains("help: ") && done.stderr.contains("tidegate run"), "{done:?}");
        assert!(!stage.data().exists(), "looking made it");
    }
}
