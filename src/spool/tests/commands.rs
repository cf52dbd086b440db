//! Pausing and removing cursors, and all that is done to them by command: in a log of this process, and in files that
//! nobody owns.

use rustix::io::Errno;

use super::fault_disk::{Fault, FaultDisk, Op};
use super::seek::{closes, deliver, seen};
use super::*;
use crate::spool::Editor;
use crate::spool::cursor::{Store, Stored};
use crate::spool::env::Env;

#[test]
fn a_paused_cursor_hands_out_nothing_after_a_restart_too() {
    let mut bench = Bench::new();
    let log = bench.log();
    append(&log, 0..10, 100);
    let mut c = cursor(&log, "c");
    log.pause("c").unwrap();
    assert!(c.take_commanded().unwrap().paused);
    assert!(c.next_batch(1 << 20).unwrap().is_none());
    assert!(!c.wait_readable(std::time::Duration::ZERO));
    drop(c);
    let log = bench.crash();
    let mut c = cursor(&log, "c");
    assert!(c.is_paused() && c.next_batch(1 << 20).unwrap().is_none());
    log.resume("c").unwrap();
    assert!(c.wait_readable(std::time::Duration::ZERO));
    assert_eq!(deliver(&mut c).len(), 10);
}

#[test]
fn a_removed_cursor_is_gone_and_holds_nothing() {
    let mut bench = Bench::new();
    let log = bench.log();
    append(&log, 0..10, 100);
    let c = cursor(&log, "c");
    let error = log.remove_cursor("c").unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    drop(c);
    assert_eq!(log.remove_cursor("c").unwrap().items, 10);
    assert!(log.seek("c", From::Oldest).unwrap_err().is_not_found());
    let log = bench.reopen();
    assert!(bench.reader().inspect().unwrap().logs[0].cursors.is_empty());
    assert_eq!(deliver(&mut cursor(&log, "c")).len(), 10, "a new one begins at the oldest");
}

/// The housekeeper may have begun to write it just before.
#[test]
fn a_removed_cursor_that_is_written_once_more_does_not_come_back() {
    let bench = Bench::new();
    let log = bench.log();
    append(&log, 0..10, 100);
    drop(cursor(&log, "c"));
    let core = log.0.cursor_list().remove(0);
    log.remove_cursor("c").unwrap();
    core.flush(&log.0).unwrap();
    assert!(bench.reader().inspect().unwrap().logs[0].cursors.is_empty());
}

#[test]
fn files_that_nobody_owns_are_edited_as_a_log_is() {
    let mut bench = Bench::new();
    let log = bench.log();
    let sequences = append(&log, 0..300, 1000);
    let mut c = cursor(&log, "c");
    drain(&mut c);
    // Done beyond the position, which stays at the first.
    c.ack(sequences[200], sequences[299], 0).unwrap();
    drop(c);
    assert!(Editor::open(bench.path()).unwrap_err().is_owned());
    drop(log);
    bench.spool.take().unwrap().close().unwrap();
    let editor = Editor::open(bench.path()).unwrap();
    let refused = Spool::open(bench.path(), bench.options.clone()).unwrap_err();
    assert!(refused.is_owned(), "{refused}");
    assert!(editor.seek("log", "d", From::Oldest).unwrap_err().is_not_found());
    assert!(editor.seek("gol", "c", From::Oldest).unwrap_err().is_not_found());
    let planned = editor.try_seek("log", "c", From::End).unwrap();
    let moved = editor.seek("log", "c", From::End).unwrap();
    assert_eq!((planned, moved.skipped_items), (moved, 200));
    assert_eq!((seen(&bench).skipped_items, seen(&bench).pending.items), (200, 0));
    closes(&bench);
    let moved = editor.seek("log", "c", From::Sequence(sequences[290])).unwrap();
    assert_eq!(moved.replayed_items, 10);
    editor.pause("log", "c").unwrap();
    assert!(seen(&bench).paused);
    editor.resume("log", "c").unwrap();
    closes(&bench);
    drop(editor);
    let log = bench.open();
    let mut c = cursor(&log, "c");
    assert_eq!(deliver(&mut c), (290..300).collect::<Vec<_>>());
    drop(c);
    bench.spool.take().unwrap().close().unwrap();
    closes(&bench);
    let editor = Editor::open(bench.path()).unwrap();
    editor.remove_cursor("log", "c").unwrap();
    assert!(bench.reader().inspect().unwrap().logs[0].cursors.is_empty());
}

/// On a full disk it goes to the older of the file's slots; were it the newer one, a crash in the middle of it would cost the
/// position.
#[test]
fn rule_15_an_edit_of_files_leaves_the_slot_before_it_whole() {
    let mut bench = Bench::new();
    let log = bench.log();
    drop(cursor(&log, "c"));
    drop(log);
    bench.spool.take().unwrap().close().unwrap();
    let path = bench.log_dir().join("cursors/c");
    let generation = || match Store::read(&Env::real(), &path).unwrap() {
        Stored::Slot(slot) => slot.generation,
        other => panic!("{other:?}"),
    };
    let before = generation();
    Editor::open(bench.path()).unwrap().pause("log", "c").unwrap();
    assert_eq!(generation(), before + 1);
}

#[test]
fn files_say_where_the_end_is_of_a_cursor_that_stands_before_the_last_frame() {
    let mut bench = Bench::new();
    let log = bench.log();
    let mut c = cursor(&log, "c");
    append(&log, 0..9, 100);
    assert_eq!(deliver(&mut c).len(), 9);
    drop(c);
    append(&log, 9..10, 100);
    drop(log);
    bench.spool.take().unwrap().close().unwrap();
    let editor = Editor::open(bench.path()).unwrap();
    assert_eq!(editor.seek("log", "c", From::End).unwrap().skipped_items, 1);
    assert_eq!(seen(&bench).pending.items, 0);
    closes(&bench);
}

/// The newest segments are gone, and with them what their frames were: nothing is pending, and nothing to skip.
#[test]
#[allow(clippy::disallowed_methods, reason = "the disk lost them")]
fn a_cursor_beyond_the_frames_that_are_left_is_told_and_stays_there() {
    let mut bench = Bench::new();
    let sequences = append(&bench.log(), 0..300, 1000);
    let mut c = cursor(&bench.log(), "c");
    drain(&mut c);
    c.ack(sequences[0], sequences[299], 0).unwrap();
    drop(c);
    bench.reopen();
    assert!(bench.log().opening().ahead_cursors.is_empty(), "it stands right after the last frame");
    bench.spool.take().unwrap().close().unwrap();
    for file in &bench.segments()[2..] {
        std::fs::remove_file(file).unwrap();
    }
    let editor = Editor::open(bench.path()).unwrap();
    let moved = editor.try_seek("log", "c", From::End).unwrap();
    assert_eq!((moved.to_sequence, moved.skipped_items), (sequences[299] + 1, 0));
    assert!(editor.remove_cursor("log", "d").unwrap_err().is_not_found());
    drop(editor);
    assert_eq!(bench.open().opening().ahead_cursors, ["c"]);
    let new = append(&bench.log(), 300..310, 1000);
    assert!(new[0] > sequences[299], "what it acked is never another frame's number");
    assert_eq!(deliver(&mut cursor(&bench.log(), "c")), (300..310).collect::<Vec<_>>());
    bench.spool.take().unwrap().close().unwrap();
    append(&bench.open(), 310..315, 1000);
    bench.spool.take().unwrap().close().unwrap();
    assert_eq!(Editor::open(bench.path()).unwrap().remove_cursor("log", "c").unwrap().items, 5);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "an operator does it")]
fn a_cursors_file_under_another_name_is_not_that_cursor() {
    let mut bench = Bench::new();
    append(&bench.log(), 0..3, 100);
    let c = cursor(&bench.log(), "c");
    assert_eq!((c.name(), c.pending().items), ("c", 3));
    assert!(c.pending().oldest_age.is_some(), "nobody has read what waits");
    drop(c);
    bench.spool.take().unwrap().close().unwrap();
    let cursors = bench.log_dir().join("cursors");
    std::fs::copy(cursors.join("c"), cursors.join("d")).unwrap();
    let error = Editor::open(bench.path()).unwrap().seek("log", "d", From::End).unwrap_err();
    assert!(error.to_string().contains("another"), "{error}");
}

#[test]
fn what_was_sent_again_from_the_dead_letters_is_counted() {
    let mut bench = Bench::new();
    let log = bench.log();
    append(&log, 0..10, 100);
    let c = cursor(&log, "c");
    log.count_replayed("c", 3).unwrap();
    log.count_replayed("c", 4).unwrap();
    assert_eq!(bench.spool.as_ref().unwrap().inspect().unwrap().logs[0].cursors[0].replayed_items, 7);
    assert!(log.count_replayed("d", 1).unwrap_err().is_not_found());
    drop((c, log));
    bench.reopen();
    assert_eq!(seen(&bench).replayed_items, 7, "durably");
}

/// Whether a task was woken.
#[derive(Default)]
struct Woken(std::sync::atomic::AtomicBool);

impl std::task::Wake for Woken {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn a_command_wakes_who_waits_for_one() {
    let bench = Bench::new();
    let log = bench.log();
    append(&log, 0..10, 100);
    let mut c = cursor(&log, "c");
    assert_eq!(deliver(&mut c).len(), 10);
    let commands: [fn(&Log); 3] = [
        |log| assert_eq!(log.seek("c", From::Oldest).unwrap().replayed_items, 10),
        |log| log.pause("c").unwrap(),
        |log| log.resume("c").unwrap(),
    ];
    for command in commands {
        let woken = std::sync::Arc::new(Woken::default());
        let mut commanded = std::pin::pin!(c.commanded());
        let waker = std::sync::Arc::clone(&woken).into();
        let mut context = std::task::Context::from_waker(&waker);
        assert!(commanded.as_mut().poll(&mut context).is_pending());
        command(&log);
        assert!(woken.0.load(std::sync::atomic::Ordering::Relaxed));
        assert!(commanded.as_mut().poll(&mut context).is_ready());
        c.take_commanded().unwrap();
    }
}

#[test]
fn files_say_what_is_pending_of_a_cursor_that_began_at_the_end() {
    let mut bench = Bench::new();
    let log = bench.log();
    append(&log, 0..20, 100);
    drop(log.cursor("c", Start::Newest, Need::Required).unwrap());
    append(&log, 20..30, 100);
    drop(log);
    bench.spool.take().unwrap().close().unwrap();
    let pending = Editor::open(bench.path()).unwrap().remove_cursor("log", "c").unwrap();
    assert_eq!((pending.items, pending.bytes), (10, 1000));
}

#[test]
fn a_cursors_file_that_cannot_be_opened_is_not_taken_for_one_that_is_not_there() {
    let mut bench = Bench::new();
    let log = bench.log();
    append(&log, 0..10, 100);
    deliver(&mut cursor(&log, "bookmark"));
    drop(log);
    bench.spool.take().unwrap().close().unwrap();
    let disk = FaultDisk::default();
    disk.add(Fault { op: Op::Open, file: "bookmark", skip: 0, times: 1, errno: Errno::IO });
    let spool = bench.open_on(Env { disk: std::sync::Arc::new(disk), ..Env::real() });
    assert!(spool.log("log").is_err(), "as a new one it would deliver everything again");
}

#[test]
#[allow(clippy::disallowed_methods, reason = "an operator's mistake")]
fn a_cursor_whose_file_is_gone_can_be_removed() {
    let bench = Bench::new();
    let log = bench.log();
    append(&log, 0..10, 100);
    drop(cursor(&log, "c"));
    std::fs::remove_file(bench.log_dir().join("cursors/c")).unwrap();
    assert_eq!(log.remove_cursor("c").unwrap().items, 10);
}
