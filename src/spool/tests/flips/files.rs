//! Whole files: zeroed, gone, swapped, copied, of another spool, of a newer program.

use std::path::PathBuf;

use super::memory::MemoryDisk;
use super::subject::{Kind, Subject, is_same, log_path, open, read, reader};
use crate::spool::format::cursor::slot;
use crate::spool::format::put;
use crate::spool::{Error, Frame, Need, Start};

/// Segments, cursors and the id: what is damaged in turn.
fn files(disk: &MemoryDisk) -> Vec<PathBuf> {
    let mut files = disk.files();
    files.retain(|path| !path.ends_with("lock") && !path.file_name().unwrap().to_str().unwrap().starts_with("spare"));
    assert!(files.len() >= 5, "{files:?}");
    files
}

/// Opens the log, reads it through a cursor and appends to it: whatever its files hold, an error or an answer.
pub(super) fn use_it(subject: &Subject, what: &str) -> Result<Vec<Frame>, Error> {
    let disk = subject.disk.copy();
    let beside = reader(&disk).and_then(|reader| read(&reader));
    let spool = open(&disk)?;
    let log = spool.log("log")?;
    let mut cursor = log.cursor("new", Start::Oldest, Need::Required)?;
    let last = log.append_wait(1, "after".into(), 1)?.sequence;
    let mut frames = Vec::new();
    while let Some(batch) = cursor.next_batch(1 << 20)? {
        frames.extend(batch.frames);
    }
    assert_eq!(frames.pop().map(|frame| frame.sequence), Some(last), "{what}");
    drop(cursor);
    spool.close()?;
    assert!(frames.iter().all(|frame| subject.frames.iter().any(|known| is_same(known, frame))), "{what}");
    assert!(frames.windows(2).all(|pair| pair[0].sequence < pair[1].sequence), "{what}");
    if let Ok(beside) = beside {
        assert_eq!(beside.len(), frames.len(), "{what}: a reader saw something else");
    }
    Ok(frames)
}

/// Frames in one segment, if the file is one.
fn held(subject: &Subject, path: &std::path::Path) -> usize {
    let without = subject.disk.copy();
    crate::spool::fs::Disk::remove(&without, path).unwrap();
    match reader(&without).and_then(|reader| read(&reader)) {
        Ok(rest) => subject.frames.len() - rest.len(),
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

#[test]
fn a_file_that_is_zeroed_costs_what_it_held() {
    let subject = Subject::new(Kind::Sealed);
    for path in files(&subject.disk) {
        let before = subject.disk.get(&path);
        let what = format!("zeroed {}", path.display());
        let held = held(&subject, &path);
        subject.disk.put(&path, vec![0; before.len()]);
        let found = use_it(&subject, &what).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(found.len() + held, subject.frames.len(), "{what}");
        if held > 0 {
            let look = subject.look().unwrap();
            assert!(!look.verification.damage.is_empty(), "{what}: {look:?}");
        }
        subject.disk.put(&path, before);
    }
}

#[test]
fn files_that_are_swapped_or_copied_are_believed_by_nobody() {
    let subject = Subject::new(Kind::Sealed);
    let all = files(&subject.disk);
    for (index, a) in all.iter().enumerate() {
        for b in &all[index + 1..] {
            let (in_a, in_b) = (subject.disk.get(a), subject.disk.get(b));
            let what = format!("swapped {} and {}", a.display(), b.display());
            subject.disk.put(a, in_b.clone());
            subject.disk.put(b, in_a.clone());
            judged(use_it(&subject, &what), &what);
            let what = format!("{} in the place of {}", b.display(), a.display());
            subject.disk.put(b, in_b.clone());
            judged(use_it(&subject, &what), &what);
            subject.disk.put(a, in_a);
        }
    }
    for path in &all {
        let what = format!("a copy of {}", path.display());
        let copies = [log_path("seg-00000000000000f0"), log_path("cursors/copy")];
        let disk = subject.disk.copy();
        for copy in copies {
            disk.put(&copy, disk.get(path));
        }
        let copied = Subject {
            disk,
            kind: subject.kind,
            segment: subject.segment.clone(),
            frames: subject.frames.clone(),
            places: Vec::new(),
        };
        let found = use_it(&copied, &what).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(found.len(), subject.frames.len(), "{what}");
    }
}

/// Either the log opens, and then all that it gives is its own, or it says what is wrong.
fn judged(result: Result<Vec<Frame>, Error>, what: &str) {
    if let Err(error) = result {
        assert!(error.is_corrupt() || error.is_newer() || error.is_not_found(), "{what}: {error}");
    }
}

#[test]
fn files_of_another_spool_are_believed_by_nobody() {
    let (subject, foreign) = (Subject::new(Kind::Sealed), Subject::new(Kind::Sealed));
    for path in files(&subject.disk) {
        let before = subject.disk.get(&path);
        let what = format!("foreign {}", path.display());
        let held = held(&subject, &path);
        subject.disk.put(&path, foreign.disk.get(&path));
        match use_it(&subject, &what) {
            Ok(found) => assert_eq!(found.len() + held, subject.frames.len(), "{what}"),
            // With another's id everything is another's.
            Err(error) => assert!(path.ends_with("spool.id") && error.is_corrupt(), "{what}: {error}"),
        }
        subject.disk.put(&path, before);
    }
}

#[test]
fn files_of_a_newer_program_are_refused_and_untouched() {
    let subject = Subject::new(Kind::Sealed);
    // Version, and a feature bit; each structure at its place, its checksum in its last four bytes.
    for path in files(&subject.disk) {
        for field in [8..10, 16..17] {
            let before = subject.disk.get(&path);
            let mut newer = before.clone();
            let (copies, length) = match path.to_str().unwrap() {
                name if name.contains("/seg-") => (vec![0, 4096], 128),
                name if name.contains("/cursors/") => (vec![0, 65_536], slot::LEN),
                _ => (vec![0], 64),
            };
            for at in copies {
                let structure = &mut newer[at..at + length];
                put(structure, field.clone(), 2);
                let crc = crc32c::crc32c(&structure[..length - 4]);
                put(structure, length - 4..length, u64::from(crc));
            }
            let what = format!("newer {}, field at {}", path.display(), field.start);
            subject.disk.put(&path, newer.clone());
            let disk = subject.disk.copy();
            let refused = open(&disk).and_then(|spool| spool.log("log").map(|log| (spool, log)));
            // A segment that opening does not read is refused when it is read.
            let refused = refused.and_then(|(_spool, log)| {
                let mut cursor = log.cursor("new", Start::Oldest, Need::Required)?;
                while cursor.next_batch(1 << 20)?.is_some() {}
                Ok(())
            });
            let error = refused.expect_err(&what);
            assert!(error.is_newer(), "{what}: {error}");
            assert_eq!(disk.get(&path), newer, "{what}");
            subject.disk.put(&path, before);
        }
    }
}
