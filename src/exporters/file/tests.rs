#![allow(clippy::disallowed_methods, reason = "tests look at files and break them")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use bytes::Bytes;
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use tempfile::TempDir;

use super::lines::faults;
use super::rotated::Names;
use super::*;
use crate::otlp::Signal;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn settings(path: impl Into<PathBuf>) -> Settings {
    Settings { path: path.into(), format: Format::Json, rotation: Rotation::default(), create_directory: false }
}

fn request(event: &str) -> Request {
    let record = LogRecord { event_name: event.into(), ..Default::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..Default::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..Default::default() }];
    let payload = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    Request { signal: Signal::Logs, payload: Bytes::from(payload), items: 1 }
}

/// The event names in a file, each line read as JSON.
fn events(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{path:?} ends inside a line");
    let event = |line: &str| {
        let request: ExportLogsServiceRequest = serde_json::from_str(line).unwrap();
        request.resource_logs[0].scope_logs[0].log_records[0].event_name.clone()
    };
    text.lines().map(event).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Sends on this thread, where disk faults can be set.
fn send(sink: &FileSink, event: &str) -> io::Result<()> {
    let lines = format_lines(sink.format, &request(event)).unwrap();
    sink.writer.lock().unwrap().append(lines.as_bytes())
}

#[tokio::test]
async fn each_request_is_a_line_and_what_was_there_stays() {
    let dir = folder();
    let path = dir.path().join("a/b/out.jsonl");
    let sink = FileSink::open(Settings { create_directory: true, ..settings(&path) }).unwrap();
    sink.send(request("one")).await.unwrap();
    sink.send(request("two")).await.unwrap();
    drop(sink);
    let sink = FileSink::open(settings(&path)).unwrap();
    sink.clone().send(request("three")).await.unwrap();
    assert_eq!(events(&path), ["one", "two", "three"]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&path), mode(path.parent().unwrap()), mode(&dir.path().join("a"))), (0o600, 0o700, 0o700));
}

#[tokio::test]
async fn a_payload_that_is_no_request_is_bad_data_and_nothing_is_written() {
    let dir = folder();
    let path = dir.path().join("out.jsonl");
    let sink = FileSink::open(settings(&path)).unwrap();
    let broken = Request { payload: Bytes::from_static(b"\x0a\xff"), ..request("") };
    let error = sink.send(broken).await.unwrap_err();
    assert!(matches!(error, SendError::BadData { .. }), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[test]
fn a_faulty_path_is_an_error_that_says_what_to_do() {
    let dir = folder();
    let open = |path: &Path| FileSink::open(settings(path)).unwrap_err().to_string();

    let error = open(&dir.path().join("missing/out.jsonl"));
    assert!(error.contains("create_directory: true"), "{error}");

    symlink("elsewhere", dir.path().join("link")).unwrap();
    let error = open(&dir.path().join("link"));
    assert!(error.contains("symbolic link"), "{error}");
    assert!(!dir.path().join("elsewhere").exists());

    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.path().join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let error = open(&dir.path().join("fifo"));
    assert!(error.contains("not a regular file"), "{error}");

    let error = open(dir.path());
    assert!(error.contains("irectory"), "{error}");
}

#[test]
fn two_writers_of_one_file_are_refused() {
    let dir = folder();
    let path = dir.path().join("out.jsonl");
    let first = FileSink::open(settings(&path)).unwrap();
    let error = FileSink::open(settings(&path)).unwrap_err().to_string();
    assert!(error.contains("another process, or another exporter, writes it"), "{error}");
    drop(first);
    FileSink::open(settings(&path)).unwrap();
}

#[test]
fn an_unfinished_last_line_is_cut_at_start() {
    let dir = folder();
    let path = dir.path().join("out.jsonl");
    let long = format!("{{\"resourceLogs\":[{{{}", "x".repeat(200_000));
    for torn in [long.as_str(), "{\"re", "{", "\0\0\0"] {
        fs::write(&path, "").unwrap();
        send(&FileSink::open(settings(&path)).unwrap(), "one").unwrap();
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole, torn.as_bytes()].concat()).unwrap();
        send(&FileSink::open(settings(&path)).unwrap(), "two").unwrap();
        assert_eq!(events(&path), ["one", "two"]);
    }
}

#[test]
fn a_file_of_somebody_else_is_refused_and_left_as_it_is() {
    let dir = folder();
    let path = dir.path().join("notes.txt");
    fs::write(&path, "first line\nlast line without an end").unwrap();
    let error = FileSink::open(settings(&path)).unwrap_err().to_string();
    assert!(error.contains("not this exporter's"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"first line\nlast line without an end");
}

#[test]
fn at_its_size_the_file_is_rotated_and_nothing_is_lost() {
    let dir = folder();
    let path = dir.path().join("out.jsonl");
    let length = format_lines(Format::Json, &request("e00")).unwrap().len() as u64;
    let rotation = Rotation { max_bytes: 3 * length, ..Rotation::default() };
    let sink = FileSink::open(Settings { rotation, ..settings(&path) }).unwrap();
    let sent: Vec<_> = (0..20).map(|n| format!("e{n:02}")).collect();
    sent.iter().for_each(|event| send(&sink, event).unwrap());

    let mut files = names(dir.path());
    assert_eq!(files.len(), 7, "{files:?}");
    // `out-…` sorts before `out.jsonl`: by name is by age.
    assert_eq!(files.last().unwrap(), "out.jsonl");
    let read: Vec<_> = files.drain(..).flat_map(|name| events(&dir.path().join(name))).collect();
    assert_eq!(read, sent);
}

#[test]
fn a_request_larger_than_a_file_goes_alone() {
    let dir = folder();
    let path = dir.path().join("out.jsonl");
    let rotation = Rotation { max_bytes: 1, ..Rotation::default() };
    let sink = FileSink::open(Settings { rotation, ..settings(&path) }).unwrap();
    send(&sink, "one").unwrap();
    send(&sink, "two").unwrap();
    assert_eq!(names(dir.path()).len(), 2);
    assert_eq!(events(&path), ["two"]);
}

#[test]
fn rotated_files_beyond_the_limits_are_removed_and_no_others() {
    let dir = folder();
    let path = dir.path().join("out.jsonl");
    let strangers = ["out-2020.jsonl", "out-2020-01-01T00-00-00.000.json", "other-2020-01-01T00-00-00.000.jsonl"];
    let old = ["out-2020-01-01T00-00-00.000.jsonl", "out-2020-01-02T00-00-00.000.jsonl"];
    strangers.iter().chain(&old).for_each(|name| fs::write(dir.path().join(name), "").unwrap());
    let rotation = Rotation { max_bytes: 1, max_backups: 2, max_age: Duration::ZERO };
    let sink = FileSink::open(Settings { rotation, ..settings(&path) }).unwrap();
    assert_eq!(names(dir.path()).len(), 6, "two rotated files are allowed");
    ["one", "two", "three"].iter().for_each(|event| send(&sink, event).unwrap());
    let left = names(dir.path());
    assert_eq!(left.len(), 6, "{left:?}");
    assert!(strangers.iter().all(|name| left.contains(&(*name).to_owned())), "{left:?}");
    assert!(!old.iter().any(|name| left.contains(&(*name).to_owned())), "{left:?}");
    drop(sink);

    fs::write(dir.path().join(old[0]), "").unwrap();
    let rotation = Rotation { max_bytes: 1, max_backups: 0, max_age: Duration::from_secs(3600) };
    FileSink::open(Settings { rotation, ..settings(&path) }).unwrap();
    assert_eq!(names(dir.path()), left, "the file of 2020 is too old, the new ones are not");
}

#[test]
fn rotated_names_sort_even_when_the_clock_goes_back() {
    let names = Names::of(Path::new("/x/out.tar.jsonl")).unwrap();
    let now: Timestamp = "2026-11-22T10:00:00.1239Z".parse().unwrap();
    let first = names.next(&[], now);
    assert_eq!(first, "out.tar-2026-11-22T10-00-00.123.jsonl");
    let second = names.next(std::slice::from_ref(&first), now - Duration::from_secs(3600));
    assert_eq!(second, "out.tar-2026-11-22T10-00-00.124.jsonl");
    assert_eq!(names.rotated(&[second.clone(), first.clone()])[0].1, first);
    assert!(Names::of(Path::new("/")).is_none());
}

#[test]
fn a_file_that_was_renamed_or_removed_is_begun_again() {
    let dir = folder();
    let path = dir.path().join("sub/out.jsonl");
    let sink = FileSink::open(Settings { create_directory: true, ..settings(&path) }).unwrap();
    send(&sink, "one").unwrap();
    fs::rename(&path, dir.path().join("sub/moved.jsonl")).unwrap();
    send(&sink, "two").unwrap();
    assert_eq!(events(&path), ["two"]);
    fs::remove_file(&path).unwrap();
    send(&sink, "three").unwrap();
    assert_eq!(events(&path), ["three"]);
    fs::remove_dir_all(dir.path().join("sub")).unwrap();
    send(&sink, "four").unwrap();
    assert_eq!(events(&path), ["four"]);
}

#[test]
fn a_full_disk_leaves_no_torn_line_and_the_retry_succeeds() {
    let dir = folder();
    let path = dir.path().join("out.jsonl");
    let sink = FileSink::open(settings(&path)).unwrap();
    send(&sink, "one").unwrap();
    let before = fs::read(&path).unwrap();
    for errno in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
        faults::WRITE.set(Some((20, errno)));
        let error = send(&sink, "two").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(errno.raw_os_error()));
        assert_eq!(fs::read(&path).unwrap(), before);
    }
    send(&sink, "two").unwrap();
    assert_eq!(events(&path), ["one", "two"]);
}

#[test]
fn after_a_failed_sync_the_file_is_set_aside_and_never_synced_again() {
    let dir = folder();
    let path = dir.path().join("out.jsonl");
    let sink = FileSink::open(settings(&path)).unwrap();
    send(&sink, "one").unwrap();
    let spent = fs::metadata(&path).unwrap().ino();
    faults::SYNC.set(Some(Errno::IO));
    send(&sink, "two").unwrap_err();
    assert_eq!(events(&path), ["one"], "what was not promised is taken back");
    faults::SYNCED.take();

    send(&sink, "two").unwrap();
    send(&sink, "three").unwrap();
    let files = names(dir.path());
    assert_eq!(files.len(), 2, "{files:?}");
    assert_eq!(events(&dir.path().join(&files[0])), ["one"]);
    assert_eq!(fs::metadata(dir.path().join(&files[0])).unwrap().ino(), spent);
    assert_eq!(events(&path), ["two", "three"]);
    let synced = faults::SYNCED.take();
    assert_eq!(synced.len(), 2);
    assert!(!synced.contains(&spent));
}

#[test]
fn what_mends_is_retried_and_what_does_not_is_told_at_once() {
    assert!(may_mend(&Errno::NOSPC.into()));
    assert!(may_mend(&Errno::ROFS.into()));
    assert!(!may_mend(&Errno::ACCESS.into()));
    assert!(!may_mend(&io::Error::other("No space left on device")));
}

#[tokio::test]
async fn a_failure_is_answered_with_retry_and_the_path() {
    let dir = folder();
    let path = dir.path().join("sub/out.jsonl");
    let sink = FileSink::open(Settings { create_directory: true, ..settings(&path) }).unwrap();
    fs::remove_dir_all(dir.path().join("sub")).unwrap();
    // A file where the directory was: no write can succeed.
    fs::write(dir.path().join("sub"), "").unwrap();
    let error = sink.send(request("one")).await.unwrap_err();
    assert!(matches!(error, SendError::Retry { .. }), "{error:?}");
    assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
    fs::remove_file(dir.path().join("sub")).unwrap();
    sink.send(request("one")).await.unwrap();
    assert_eq!(events(&path), ["one"]);
}
