//! Rules 2 to 9: the writer and its readers.

use super::*;

#[test]
fn rule_2_what_is_called_durable_outlives_the_power() {
    for durability in [Durability::Sync, Durability::Interval, Durability::Os] {
        let mut machine = Machine::new(|o| o.log.durability = durability);
        let log = machine.start();
        append_by_hand(&log, 0..3, 1000);
        machine.pass(machine.options.log.sync_interval);
        let durable = log.durable_sequence();
        assert_eq!(durable, if durability == Durability::Os { 0 } else { 3 }, "{durability:?}");
        machine.lose_power(Left::Nothing);
        let log = machine.start();
        // A segment's first group is synced with its header, whatever the policy promises.
        let durable = durable.max(1);
        assert_eq!(read(&log), (0..durable).collect::<Vec<_>>(), "{durability:?}");
        append_by_hand(&log, 3..6, 1000);
        machine.spool().close().unwrap();
        machine.lose_power(Left::Nothing);
        let log = machine.start();
        assert!(log.opening().clean, "{durability:?}: {:?}", log.opening());
        assert_eq!(read(&log), (0..durable).chain(3..6).collect::<Vec<_>>(), "{durability:?}");
    }
}

#[test]
fn rule_4_a_quiet_moment_leaves_a_durable_witness() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    let sequences = append_by_hand(&log, 0..1, 100);
    machine.pass(Duration::from_millis(20));
    machine.lose_power(Left::Nothing);
    assert_eq!(machine.start().opening().synced_to, sequences[0]);
}

#[test]
fn rule_5_a_footer_is_durable_before_the_first_ack_in_the_next_segment() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    let mut next = 0;
    while segments(&log).len() < 3 {
        append_by_hand(&log, next..next + 1, 6000);
        next += 1;
    }
    machine.lose_power(Left::Nothing);
    let log = machine.start();
    for sealed in &segments(&log)[..2] {
        let file = sealed.open(&log.0.env).unwrap();
        assert!(sealed.footer(&*file).unwrap().is_some(), "{}", sealed.path.display());
    }
}

#[test]
fn rule_5_a_footer_is_on_the_disk_only_after_the_frames_it_speaks_of() {
    for durability in [Durability::Interval, Durability::Os] {
        let mut machine = Machine::new(|o| o.log.durability = durability);
        append_by_hand(&machine.start(), 0..3, 6000);
        machine.spool().close().unwrap();
        for moment in machine.moments(&[Call::Write, Call::Sync]) {
            let mut image = machine.cut(&moment.tree, Left::LastWrites);
            let log = image.start();
            drain(&mut cursor(&log, "c"));
            let losses = log.losses().unwrap();
            assert!(losses.iter().all(|loss| loss.reason != "damaged"), "{:?}: {losses:?}", moment.after);
        }
    }
}

#[test]
fn rule_6_a_sequence_that_went_with_the_power_is_not_given_again() {
    let mut machine = Machine::new(|o| o.log.durability = Durability::Os);
    let mut given = Vec::new();
    for number in 0..4 {
        given.extend(append_by_hand(&machine.start(), number..number + 1, 100));
        machine.lose_power(Left::Nothing);
    }
    assert!(given.windows(2).all(|pair| pair[0] < pair[1]), "{given:?}");
}

#[test]
fn rule_6_a_sequence_that_only_a_cursor_knows_is_not_given_again() {
    let mut machine = Machine::new(|o| o.log.durability = Durability::Os);
    let log = machine.start();
    let mut c = cursor(&log, "c");
    // Of three frames in the cache the last two were acked. Then the power takes all three.
    let given = append_by_hand(&log, 0..3, 100);
    drain(&mut c);
    c.ack(given[1], given[2], 0).unwrap();
    c.flush().unwrap();
    machine.lose_power(Left::Nothing);
    // Above what was given, and not only by the distance that an unclean stop asks for.
    assert!(append_by_hand(&machine.start(), 3..4, 100)[0] > given[2] + recovery::JUMP);
}

#[test]
fn rule_6_a_group_that_could_not_be_written_burns_its_sequences() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    append_by_hand(&log, 0..1, 1000);
    let mut acks: Vec<_> = (1..9).map(|number| log.append(1, payload(number, 1000), 1).unwrap()).collect();
    // A part of it is in the file.
    machine.fail(&[Call::Write], 1, Errno::NOSPC);
    machine.spool().turn_writers();
    assert!(acks.iter_mut().all(|ack| poll(ack).unwrap().unwrap_err().is_full()));
    machine.clock.go(BACKOFF);
    machine.spool().turn_housekeeper();
    assert!(append_by_hand(&log, 9..10, 100)[0] > 9);
    machine.kill();
    let log = machine.start();
    assert_eq!(read(&log), [0, 9]);
    assert!(machine.reader().verify(&mut |_, _| {}).unwrap().logs[0].ledger_closes);
}

/// Appends 39 frames of this size that are refused, and a part of them is in the file.
fn refuse_a_group(machine: &Machine, log: &Log, size: usize) {
    let acks: Vec<_> = (1..40).map(|number| log.append(1, payload(number, size), 1).unwrap()).collect();
    // Twice: between the two the file's size is asked for.
    machine.fail(&[Call::Write], 3, Errno::NOSPC);
    machine.spool().turn_writers();
    assert!(acks.into_iter().all(|ack| ack.wait().is_err_and(|e| e.is_full())));
    machine.disk.heal();
}

#[test]
fn rule_6_no_mark_makes_data_of_what_a_refused_write_left() {
    for seed in 0..16 {
        let mut machine = Machine::of(seed, |o| o.log.durability = Durability::Interval);
        let log = machine.start();
        append_by_hand(&log, 0..1, 1000);
        refuse_a_group(&machine, &log, 100);
        // The sync that is due, and the mark after it.
        machine.pass(Duration::from_millis(100));
        machine.pass(Duration::from_millis(100));
        machine.kill();
        let log = machine.start();
        assert_eq!(read(&log)[0], 0);
        // Bytes of a frame that was cut off may be told; frames that nobody was promised are not missing.
        let losses = log.losses().unwrap();
        assert!(losses.iter().all(|loss| loss.items == 0), "seed {seed}: {losses:?}");
    }
}

#[test]
fn rule_6_a_kill_while_what_was_refused_is_cleared_makes_no_loss_of_it() {
    for seed in 0..8 {
        let mut machine = Machine::of(seed, |o| o.log.segment_size = Some(1 << 20));
        let log = machine.start();
        append_by_hand(&log, 0..1, 1000);
        refuse_a_group(&machine, &log, 6000);
        machine.clock.go(BACKOFF);
        machine.spool().turn_housekeeper();
        machine.recorder.take_moments();
        append_by_hand(&log, 40..41, 100);
        for moment in machine.recorder.take_moments() {
            let mut killed = machine.killed(&moment.tree);
            let log = killed.start();
            assert_eq!(read(&log)[0], 0);
            let losses = log.losses().unwrap();
            assert!(losses.iter().all(|loss| loss.items == 0), "seed {seed}, {:?}: {losses:?}", moment.after);
        }
    }
}

#[test]
fn rule_6_an_empty_segment_that_a_full_disk_ends_keeps_its_distance_from_what_a_crash_took() {
    let mut machine = Machine::new(|o| o.log.durability = Durability::Os);
    let log = machine.start();
    let mut c = cursor(&log, "c");
    append_by_hand(&log, 0..25, 6000);
    deliver(&mut c);
    let given = append_by_hand(&log, 25..28, 100);
    machine.lose_power(Left::Nothing);
    let log = machine.start();
    // Room for a new segment's header, and not for its first frame: that goes to a file that is used again.
    machine.disk.leave(DATA_AT + 100);
    let after = append_by_hand(&log, 28..29, 6000);
    assert!(after[0] > given[2]);
    let firsts: Vec<u64> = segments(&log).iter().map(|segment| segment.header.first_sequence).collect();
    assert!(firsts.is_sorted() && firsts.last().unwrap() > &given[2], "{firsts:?}");
    machine.lose_power(Left::Nothing);
    assert!(append_by_hand(&machine.start(), 29..30, 100)[0] > after[0]);
}

#[test]
fn rule_6_each_opening_has_an_epoch_of_its_own() {
    let mut machine = Machine::new(|_| {});
    let mut epochs = Vec::new();
    for number in 0..3 {
        append_by_hand(&machine.start(), number..number + 1, 100);
        epochs.push(machine.spool().epoch());
        machine.kill();
    }
    let frames = drain(&mut cursor(&machine.start(), "c"));
    assert_eq!(frames.iter().map(|frame| frame.epoch).collect::<Vec<_>>(), epochs);
    assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2] && epochs[0] != epochs[2], "{epochs:?}");
}

#[test]
fn rule_7_what_a_failed_sync_left_in_doubt_is_durable_in_another_file_before_the_ack() {
    for seed in 0..16 {
        let mut machine = Machine::of(seed, |_| {});
        let log = machine.start();
        append_by_hand(&log, 0..3, 100);
        // A write and its sync.
        machine.fail(&[Call::Sync], 2, Errno::IO);
        append_by_hand(&log, 3..4, 100);
        assert_eq!(segments(&log).len(), 2);
        machine.lose_power(Left::Nothing);
        assert_eq!(read(&machine.start()), [0, 1, 2, 3], "seed {seed}");
    }
}

#[test]
fn rule_7_what_shares_a_block_with_what_a_failed_sync_lost_is_rewritten_too() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    append_by_hand(&log, 0..3, 100);
    machine.fail(&[Call::Sync], 2, Errno::IO);
    append_by_hand(&log, 3..4, 100);
    let poisoned = segments(&log)[0].path.clone();
    machine.kill();
    // The drive lost the whole block.
    machine.disk.open(&poisoned, Access::Write).unwrap().write_bytes(&[0; 4096], DATA_AT).unwrap();
    assert_eq!(read(&machine.start()), [0, 1, 2, 3]);
}

#[test]
fn rule_7_what_the_power_took_of_the_next_segment_is_torn_not_a_failed_sync() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    append_by_hand(&log, 0..1, 100);
    // A write and its sync.
    machine.fail(&[Call::Sync], 2, Errno::IO);
    append_by_hand(&log, 1..2, 100);
    let second = segments(&log)[1].path.clone();
    drop(cursor(&log, "c"));
    // One group, of which the power left the last frame.
    let acks: Vec<_> = (2..4).map(|number| log.append(1, payload(number, 100), 1).unwrap()).collect();
    machine.spool().turn_writers();
    drop(acks);
    machine.kill();
    let lost = DATA_AT + 2 * frame::frame_len(100);
    let file = machine.disk.open(&second, Access::Write).unwrap();
    file.write_bytes(&[0; frame::frame_len(100) as usize], lost).unwrap();
    drop(file);
    let log = machine.start();
    drain(&mut cursor(&log, "c"));
    let reasons: Vec<_> = log.losses().unwrap().iter().map(|loss| (loss.reason, loss.items)).collect();
    assert!(reasons.contains(&("torn", 1)) && reasons.iter().all(|(reason, _)| *reason == "torn"), "{reasons:?}");
}

#[test]
fn rule_7_frames_from_the_first_sequence_of_the_next_segment_on_are_not_data() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    append_by_hand(&log, 0..4, 100);
    let old = segments(&log)[0].header;
    machine.kill();
    // Of these four, another segment has the last two otherwise.
    let totals = Totals { frames: 2, items: 2, bytes: 200 };
    let header = SegmentHeader { segment_id: 2, epoch: 1, first_sequence: 3, after_sequence: 2, totals, ..old };
    let payload = payload(7, 100);
    let frame =
        FrameHeader { kind: kind::DATA, content: 1, length: 100, items: 1, sequence: 3, time: 0, synced_to: 2, totals };
    let frame = frame.encode(header.seed(), DATA_AT);
    let (trailer, length) = frame::trailer(&frame, &payload);
    let bytes = [&header.encode_block()[..], &frame, &payload, &trailer[..length]].concat();
    let file = machine.disk.open(&log.0.dir.join(names::segment_file(2)), Access::Create).unwrap();
    file.write_bytes(&bytes, 0).unwrap();
    assert_eq!(read(&machine.start()), [0, 1, 7]);
}

/// Frames of a write that was refused are in the file, and its footer, which would say where the data ends, is not.
#[test]
fn rule_8_what_a_full_disk_cut_off_is_no_data_of_a_segment_that_has_a_next() {
    let mut left_behind = 0;
    for failing in 0..12 {
        let mut machine = Machine::new(|_| {});
        let log = machine.start();
        // Nothing may go for want of room.
        let wants = cursor(&log, "reader");
        append_by_hand(&log, 0..2, 100);
        let refused: Vec<_> = (2..5).map(|n| log.append(1, payload(n, 100), 1).unwrap()).collect();
        let fault = |from, trouble| Fault { from, to: from + 1, calls: vec![Call::Write], trouble };
        let next = machine.disk.calls() + 1;
        machine.disk.add(fault(next, Trouble::Short));
        machine.disk.add(fault(next + 1, Trouble::Fails(Errno::NOSPC)));
        machine.spool().turn_writers();
        assert!(refused.into_iter().all(|ack| ack.wait().is_err_and(|e| e.is_full())));
        // The disk is looked at again, and has room.
        machine.clock.go(BACKOFF);
        machine.spool().turn_housekeeper();
        machine.disk.add(fault(machine.disk.calls() + 1 + failing, Trouble::Fails(Errno::NOSPC)));
        let acked = log.append_wait(1, payload(5, 60_000), 1).is_ok();
        let unsealed = segments(&log).len() == 2 && !segments(&log)[0].end(&log.0.env, u64::MAX).unwrap().sealed;
        left_behind += u32::from(unsealed);
        drop(wants);
        machine.kill();
        machine.disk.heal();
        let log = machine.start();
        let mut c = cursor(&log, "reader");
        let given = numbers(&drain(&mut c));
        assert_eq!(c.pending().items, given.len() as u64, "{failing}: {given:?}");
        assert!(given.starts_with(&[0, 1]) && given.contains(&5) == acked, "{failing}: {given:?}");
        assert!(!acked || given == [0, 1, 5], "{failing}: {given:?}");
    }
    assert!(left_behind > 0, "the footer was to fail once");
}

#[test]
fn rule_7_a_poisoned_file_is_not_recycled() {
    let mut machine = Machine::new(|o| o.log.retain_size = 0);
    let log = machine.start();
    let mut c = cursor(&log, "c");
    append_by_hand(&log, 0..8, 6000);
    machine.fail(&[Call::Sync], 2, Errno::IO);
    append_by_hand(&log, 8..10, 6000);
    let poisoned = segments(&log)[0].path.clone();
    deliver(&mut c);
    machine.moments(&[]);
    machine.spool().turn_housekeeper();
    let gone: Vec<_> =
        machine.moments(&[Call::Rename, Call::Remove]).into_iter().map(|m| (m.after.0, m.after.1)).collect();
    assert_eq!(gone, [(Call::Remove, poisoned)]);
}

#[test]
fn rule_7_a_cursor_file_whose_sync_failed_is_not_written_again() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    let mut c = cursor(&log, "c");
    let file = log.0.dir.join("cursors/c");
    machine.fail(&[Call::Sync], 2, Errno::IO);
    c.flush().unwrap_err();
    machine.moments(&[]);
    for _ in 0..2 {
        c.flush().unwrap();
    }
    let calls: Vec<_> = machine.moments(CHANGES).into_iter().map(|m| (m.after.0, m.after.1)).collect();
    let named = calls.iter().position(|call| *call == (Call::Rename, file.clone())).expect("another takes its name");
    assert!(calls[..named].iter().all(|(_, path)| *path != file), "{calls:?}");
}

#[test]
fn rule_7_an_opening_whose_sync_fails_shows_what_the_disk_has() {
    for seed in 0..16 {
        let mut machine = Machine::of(seed, |o| o.log.durability = Durability::Os);
        append_by_hand(&machine.start(), 0..3, 6000);
        machine.kill();
        machine.fail(&[Call::Sync], 1000, Errno::IO);
        let shown = machine.start().durable_sequence();
        machine.disk.heal();
        machine.lose_power(Left::Nothing);
        assert_eq!(machine.start().durable_sequence(), shown, "seed {seed}");
    }
}

#[test]
fn rule_9_no_reader_sees_a_frame_whose_sync_failed_until_another_works() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    let mut c = cursor(&log, "c");
    append_by_hand(&log, 0..1, 100);
    assert_eq!(numbers(&drain(&mut c)), [0]);
    machine.fail(&[Call::Sync, Call::Create], 1000, Errno::IO);
    assert!(log.append_wait(1, payload(1, 100), 1).unwrap_err().is_poisoned());
    assert_eq!(numbers(&drain(&mut c)), [0; 0]);
    machine.disk.heal();
    machine.pass(BACKOFF);
    assert_eq!(numbers(&drain(&mut c)), [1]);
}

#[test]
fn rule_9_a_reader_beside_the_writer_sees_what_a_later_frame_calls_durable() {
    let mut machine = Machine::new(|o| o.log.durability = Durability::Interval);
    let log = machine.start();
    append_by_hand(&log, 0..2, 100);
    let mut beside = machine.reader().read("log", From::Oldest).unwrap();
    assert!(beside.next().unwrap().is_none(), "nothing is synced");
    machine.pass(machine.options.log.sync_interval);
    assert!(beside.next().unwrap().is_none(), "nothing on the disk says that it is");
    machine.pass(Duration::from_millis(20));
    assert!(beside.next().unwrap().is_some() && beside.next().unwrap().is_some());
}
