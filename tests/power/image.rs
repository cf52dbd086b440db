//! What a disk's image holds, seen from outside: mounted here, checked by the command line and read by the library.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message;
use serde_json::{Value, json};
use tidegate::spool::{Frame, Need, Options, Spool, Start};

use crate::disk::BLOCK;
use crate::guest::FileSystem;
use crate::oracle::{Found, Oracle};

/// The size of every disk: xfs has a least one.
pub(crate) const DISK_BYTES: u64 = 320 << 20;
const EMPTY: &[u8] = &[0; BLOCK];
const BATCH_BYTES: usize = 4 << 20;
/// As agent.yaml has it.
const LOG_BYTES_MAX: u64 = 64 << 20;
const LOG: &str = "logs";
const CURSOR: &str = "logs:otlp";

/// An empty file system.
pub(crate) fn make(file_system: FileSystem) -> Vec<u8> {
    let file = empty_image(DISK_BYTES);
    let quiet = if file_system == FileSystem::Ext4 { ["-q", "-F", "-b4096"] } else { ["-q", "-f", "-ssize=4096"] };
    run(Command::new(tool(&format!("mkfs.{file_system}"))).args(quiet).arg(file.path())).unwrap();
    std::fs::read(file.path()).unwrap()
}

/// Mounts a copy of the image and checks what it holds against the oracle.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn check(image: &[u8], file_system: FileSystem, oracle: &Oracle) -> Result<Found, String> {
    let mounted = Mounted::copy(image, file_system)?;
    let data = mounted.directory().join("tidegate");
    // A cut of the first start may come before there is a log; nothing can have been acknowledged.
    if !data.join("logs").join(LOG).exists() {
        return compare(&[], oracle);
    }
    let verification = tidegate("verify", &data)?;
    if verification["ok"] != true {
        return Err(format!("`spool verify` finds damage: {verification:#}"));
    }
    let before = Ledger::of(&data)?;
    let pending = drain(&data)?;
    let after = Ledger::of(&data)?;
    let read = pending.iter().map(|frame| u64::from(frame.items)).sum();
    let is_torn = log_of(&verification)?["torn"] != json!([]);
    before.agrees(&after, read, is_torn).map_err(|error| format!("{error}: {before:?}, then {after:?}"))?;
    compare(&pending, oracle)
}

/// What a command tells of the log.
fn log_of(told: &Value) -> Result<&Value, String> {
    let mut logs = told["logs"].as_array().into_iter().flatten();
    logs.find(|log| log["name"] == LOG).ok_or_else(|| format!("nothing is told of the log: {told:#}"))
}

/// What the exporter would be given after a start on this image, in order, each of it delivered.
fn drain(data: &Path) -> Result<Vec<Frame>, String> {
    let said = |error: tidegate::spool::Error| format!("the library cannot read it: {error}");
    let options = Options { max_size: Some(LOG_BYTES_MAX), ..Options::default() };
    let spool = Spool::open(data, options).map_err(said)?;
    let log = spool.log(LOG).map_err(said)?;
    let mut cursor = log.cursor(CURSOR, Start::Oldest, Need::Required).map_err(said)?;
    let mut frames = Vec::new();
    while let Some(batch) = cursor.next_batch(BATCH_BYTES).map_err(said)? {
        if let (Some(first), Some(last)) = (batch.frames.first(), batch.frames.last()) {
            cursor.ack(first.sequence, last.sequence, 0).map_err(said)?;
        }
        frames.extend(batch.frames);
    }
    drop(cursor);
    spool.close().map_err(said)?;
    Ok(frames)
}

/// What `spool inspect` tells of the log's records and of what became of them.
#[derive(Debug, Default)]
struct Ledger {
    accepted: u64,
    /// Delivered, parked or skipped.
    done: u64,
    /// Dropped, for this reason alone.
    torn: u64,
    pending: u64,
}

impl Ledger {
    fn of(data: &Path) -> Result<Self, String> {
        let told = tidegate("inspect", data)?;
        let ledger = &log_of(&told)?["ledger"];
        let dropped = ledger["dropped"].as_object().ok_or("`spool inspect` does not tell of drops")?;
        if dropped.keys().any(|reason| reason != "torn") {
            return Err(format!("records were dropped: {ledger}"));
        }
        // A cut of the first start may come before there is a cursor; the log is then empty.
        let of = |part: &str| ledger[part][CURSOR].as_u64().unwrap_or_default();
        Ok(Self {
            accepted: ledger["accepted"].as_u64().ok_or("`spool inspect` does not tell what was accepted")?,
            done: ["delivered", "parked", "skipped"].into_iter().map(of).sum(),
            torn: dropped.values().filter_map(Value::as_u64).sum(),
            pending: of("pending"),
        })
    }

    /// Whether it closes on the image and after its pending records were read. Of those a cut may have taken a part that
    /// nobody was promised, out of the middle of a write: the reader counts it as torn when it meets the hole.
    fn agrees(&self, after: &Self, read: u64, is_torn: bool) -> Result<(), String> {
        for ledger in [self, after] {
            if ledger.accepted != ledger.done + ledger.torn + ledger.pending {
                return Err("the ledger does not close".to_owned());
            }
        }
        let torn = after.torn.checked_sub(self.torn).ok_or("fewer are told as torn than before")?;
        if torn > 0 && !is_torn {
            return Err(format!("{torn} records are told as torn, and `spool verify` knows of no hole"));
        }
        if (after.pending, after.done) != (0, self.done + read) || read + torn != self.pending {
            return Err(format!("{read} records are read"));
        }
        Ok(())
    }
}

fn compare(pending: &[Frame], oracle: &Oracle) -> Result<Found, String> {
    let decode = |frame: &Frame| ExportLogsServiceRequest::decode(frame.payload.clone());
    let requests: Result<Vec<_>, _> = pending.iter().map(decode).collect();
    let requests = requests.map_err(|error| format!("a frame holds no request: {error}"))?;
    oracle.compare(&requests)
}

fn tidegate(command: &str, data: &Path) -> Result<Value, String> {
    let mut tidegate = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    tidegate.args(["spool", command, "--output", "json", "--data-dir"]).arg(data);
    let output = tidegate.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).map_err(|error| format!("`spool {command}`: {error}\n{said}"))
}

/// A copy of an image, mounted; unmounted when dropped.
struct Mounted {
    directory: tempfile::TempDir,
    _file: tempfile::NamedTempFile,
}

impl Mounted {
    fn copy(image: &[u8], file_system: FileSystem) -> Result<Self, String> {
        let mut file = empty_image(image.len() as u64);
        for (at, block) in image.chunks(BLOCK).enumerate().filter(|(_, block)| *block != EMPTY) {
            file.seek(SeekFrom::Start((at * BLOCK) as u64)).unwrap();
            file.write_all(block).unwrap();
        }
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop", "-t", file_system.name()]).arg(file.path()).arg(directory.path());
        run(&mut mount)?;
        Ok(Self { directory, _file: file })
    }

    fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("umount").arg(self.directory.path())) {
            eprintln!("left mounted: {error}");
        }
    }
}

/// In memory: an image is written more often than read.
#[allow(clippy::disallowed_methods, reason = "an image is no file of the log")]
fn empty_image(bytes: u64) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    file.as_file().set_len(bytes).unwrap();
    file
}

/// A program that users other than root may not have in their path.
fn tool(name: &str) -> PathBuf {
    let places = ["/usr/sbin", "/sbin", "/usr/bin"].map(|place| Path::new(place).join(name));
    places
        .into_iter()
        .find(|place| place.exists())
        .unwrap_or_else(|| panic!("no {name}: `tests/run debian` installs it"))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}\n{said}", output.status)) }
}
