//! Rules 10 and 11: names, files that are used again, and what is reclaimed.

use super::*;

#[test]
fn rule_10_a_file_gets_its_name_when_its_bytes_are_durable() {
    let mut machine = Machine::new(|o| {
        o.log.durability = Durability::Os;
        o.log.retain_size = 0;
    });
    let log = machine.start();
    let mut c = cursor(&log, "c");
    append_by_hand(&log, 0..40, 6000);
    deliver(&mut c);
    machine.spool().turn_housekeeper();
    append_by_hand(&log, 40..80, 6000);
    // Of the last segment only the last write is left: the bytes before it are set aside.
    machine.lose_power(Left::LastWrites);
    machine.start();
    let moments = machine.moments(&[Call::Create, Call::Rename]);
    let (made, named): (Vec<_>, Vec<_>) = moments.into_iter().partition(|moment| moment.after.0 == Call::Create);
    for Moment { after: (_, path, _), tree, .. } in &named {
        assert!(tree.is_synced(path), "{}", path.display());
    }
    let count = |of: &[Moment], part: &str| of.iter().filter(|m| m.after.1.to_str().unwrap().contains(part)).count();
    for kind in ["/spool.id", "/cursors/c", "/seg-", "/spare-", "/damaged/"] {
        assert!(count(&named, kind) > 0, "none of {kind}");
    }
    assert!(count(&named, "/seg-") > count(&made, "/spare-"), "some are recycled");
}

#[test]
fn rule_10_an_append_into_the_next_segment_waits_for_three_syncs() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    let mut waits: Vec<Vec<Call>> = Vec::new();
    for number in 0..100 {
        machine.recorder.take_moments();
        append_by_hand(&log, number..number + 1, 4000);
        let syncs = machine.moments(&[Call::Sync, Call::SyncDir]);
        waits.push(syncs.iter().map(|moment| moment.after.0).collect());
    }
    let (footer, frames, name) = (Call::Sync, Call::Sync, Call::SyncDir);
    assert_eq!(waits[0], [frames, name]);
    let crossings: Vec<&Vec<Call>> = waits[1..].iter().filter(|syncs| **syncs != [frames]).collect();
    assert!(crossings.len() >= 5 && crossings.iter().all(|syncs| **syncs == [footer, frames, name]), "{waits:?}");
}

#[test]
fn rule_10_a_file_is_written_again_only_when_its_old_name_is_durably_gone() {
    let mut machine = Machine::new(|o| o.log.retain_size = 0);
    let log = machine.start();
    let mut c = cursor(&log, "c");
    append_by_hand(&log, 0..30, 6000);
    deliver(&mut c);
    machine.spool().turn_housekeeper();
    machine.moments(&[]);
    append_by_hand(&log, 30..50, 6000);
    for moment in machine.moments(CHANGES) {
        let mut image = machine.cut(&moment.tree, Left::Nothing);
        image.start();
        let damage = image.reader().verify(&mut |_, _| {}).unwrap().logs.remove(0).damage;
        assert!(damage.is_empty(), "{:?}: {damage:?}", moment.after);
    }
}

#[test]
fn rule_10_a_file_that_a_reader_elsewhere_holds_is_not_recycled() {
    let mut machine = Machine::new(|o| o.log.retain_size = 0);
    let log = machine.start();
    let mut c = cursor(&log, "c");
    append_by_hand(&log, 0..30, 6000);
    let files = Files::open(&machine.reader(), "log", false).unwrap();
    let held = files.table().all(files.env()).unwrap();
    // One that has its lock, and one that comes for it when the file has another name already.
    let first = files.open(&held[0]).unwrap();
    let second = held[1].open(files.env()).unwrap();
    deliver(&mut c);
    machine.spool().turn_housekeeper();
    assert!(second.try_lock(false).unwrap());
    append_by_hand(&log, 30..60, 6000);
    for (segment, file) in held.iter().zip([first, second]) {
        assert!(segment.is_mine(&*file).unwrap(), "{}", segment.path.display());
    }
}

#[test]
fn rule_11_a_cursor_is_durably_moved_before_what_it_wants_goes() {
    let mut machine = Machine::new(|o| {
        o.log.on_full = OnFull::DropOldest;
        o.log.max_size = Some(448 << 10);
    });
    let log = machine.start();
    let (_slow, mut fast) = (cursor(&log, "slow"), cursor(&log, "fast"));
    for number in 0..120 {
        append_by_hand(&log, number..number + 1, 6000);
        // Done, but not durably: it is behind all the same.
        drain(&mut fast);
        fast.ack(0, u64::MAX, 0).unwrap();
    }
    for moment in machine.moments(&[Call::Rename, Call::Remove, Call::SyncDir]) {
        let mut image = machine.cut(&moment.tree, Left::Nothing);
        let log = image.start();
        for name in ["slow", "fast"] {
            drain(&mut cursor(&log, name));
        }
        for loss in log.losses().unwrap() {
            assert_eq!((loss.cursor.as_deref(), loss.reason), (Some("slow"), "full"), "{:?}", moment.after);
        }
    }
    assert!(log.losses().unwrap().iter().any(|loss| loss.items > 0));
}

#[test]
fn rule_11_on_a_disk_that_others_fill_a_log_lives_in_the_blocks_that_it_has() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    let mut c = cursor(&log, "c");
    // Within `retain_size`, and a segment that grows.
    append_by_hand(&log, 0..25, 6000);
    deliver(&mut c);
    let before = log.0.account.bytes();
    machine.disk.besiege();
    for round in 0..5 {
        let number = 100 * (round + 1);
        let mut found = Vec::new();
        let taken = (number..).take_while(|n| {
            let is_taken = log.append_wait(1, payload(*n, 6000), 1).is_ok();
            found.extend(numbers(&drain(&mut c)));
            is_taken
        });
        let taken = taken.count() as u64;
        // All but the newest segment, which knows the sequences, is used again.
        assert!(taken >= 9, "{taken} in round {round}");
        assert_eq!(found, (number..number + taken).collect::<Vec<_>>());
        c.ack(0, u64::MAX, 0).unwrap();
        c.flush().unwrap();
        assert!(log.trouble().unwrap().is_full());
        machine.spool().turn_housekeeper();
        machine.pass(BACKOFF);
    }
    assert!(log.0.account.bytes() >= before - 2 * SEGMENT, "{} of {before} bytes are left", log.0.account.bytes());
}

#[test]
fn rule_11_on_a_full_disk_a_group_goes_where_there_is_room_as_far_as_there_is() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    // A small segment that is passed, and one that grows.
    append_by_hand(&log, 0..5, 6000);
    machine.kill();
    let log = machine.start();
    let mut c = cursor(&log, "c");
    append_by_hand(&log, 5..6, 6000);
    deliver(&mut c);
    machine.disk.besiege();
    let mut acks: Vec<_> = (6..24).map(|number| log.append(1, payload(number, 6000), 1).unwrap()).collect();
    machine.spool().turn_writers();
    let answers: Vec<_> = acks.iter_mut().map(|ack| poll(ack).unwrap()).collect();
    let stored = answers.iter().take_while(|answer| answer.is_ok()).count();
    assert_eq!(stored, 5);
    assert!(answers[stored..].iter().all(|answer| answer.as_ref().is_err_and(|e| e.is_full())));
    let sequences: Vec<u64> = answers[..stored].iter().map(|answer| answer.as_ref().unwrap().sequence).collect();
    machine.kill();
    let log = machine.start();
    let found = drain(&mut cursor(&log, "c"));
    assert_eq!(found.iter().map(|frame| frame.sequence).collect::<Vec<_>>(), sequences);
    assert!(machine.reader().verify(&mut |_, _| {}).unwrap().logs[0].ledger_closes);
}

#[test]
fn rule_11_on_a_full_disk_a_file_goes_if_a_write_takes_new_blocks_for_old_ones() {
    let mut machine = Machine::new(|o| {
        o.log.on_full = OnFull::DropOldest;
        o.log.retain_size = 0;
    });
    let log = machine.start();
    let mut c = cursor(&log, "c");
    append_by_hand(&log, 0..30, 6000);
    deliver(&mut c);
    machine.spool().turn_housekeeper();
    // In files that were others before.
    append_by_hand(&log, 30..50, 6000);
    let (newest, before) = (segments(&log).pop().unwrap(), log.0.account.bytes());
    // What a file system answers that never writes in place, twice: between the two the file's size is asked for.
    machine.fail(&[Call::Write], 3, Errno::NOSPC);
    append_by_hand(&log, 50..51, 6000);
    assert_eq!(segments(&log).last().unwrap().id, newest.id);
    assert!(log.0.account.bytes() <= before - newest.size(), "a file went");
}

/// Of a file that is used again more may be left than a mark needs, or less: zeros of our own, which nobody lost.
#[test]
fn rule_21_what_is_too_short_for_a_frame_is_told_only_if_it_begins_as_one() {
    for left in [8, 48, 72, 80, 160] {
        let mut machine = Machine::new(|o| o.log.retain_size = 0);
        let log = machine.start();
        let mut c = cursor(&log, "c");
        append_by_hand(&log, 0..30, 6000);
        deliver(&mut c);
        machine.spool().turn_housekeeper();
        let end_and_size = || (log.0.view.front().visible.end, segments(&log).pop().unwrap().size());
        let mut numbers = 30..;
        let mut append = |bytes| drop(numbers.next().map(|n| append_by_hand(&log, n..n + 1, bytes)));
        while end_and_size().0 == end_and_size().1 {
            append(6000);
        }
        let (end, size) = end_and_size();
        append((size - left - end - frame::HEADER_LEN - 4) as usize);
        assert_eq!(end_and_size(), (size - left, size));
        machine.kill();
        assert_eq!(machine.start().opening().cuts, [], "{left}");
    }
}

#[test]
fn rule_20_a_segment_that_could_not_be_made_nor_removed_is_no_damage_later() {
    let mut machine = Machine::new(|o| o.log.retain_size = 0);
    let log = machine.start();
    let mut c = cursor(&log, "c");
    machine.fail(&[Call::SyncDir, Call::Remove], 20, Errno::IO);
    assert!(log.append_wait(1, payload(0, 6000), 1).is_err());
    machine.disk.heal();
    machine.pass(BACKOFF);
    append_by_hand(&log, 0..30, 6000);
    deliver(&mut c);
    machine.spool().turn_housekeeper();
    machine.kill();
    machine.start();
    let damage = machine.reader().verify(&mut |_, _| {}).unwrap().logs.remove(0).damage;
    assert!(damage.is_empty(), "{damage:?}");
}
