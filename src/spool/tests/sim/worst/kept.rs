//! Rules 15 to 21: cursors, dead letters, losses and openings.

use super::*;

#[test]
fn rule_15_a_cursors_write_is_durable_when_it_returns() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    let sequences = append_by_hand(&log, 0..3, 100);
    let mut c = cursor(&log, "c");
    for left in [Left::Nothing, Left::Names] {
        let mut image = machine.cut(&machine.disk.tree(), left);
        let log = image.start();
        assert_eq!((log.orphans().len(), log.opening().lost_cursors.len()), (1, 0), "{left:?}: its file is there");
    }
    drain(&mut c);
    for sequence in &sequences[..2] {
        c.ack(*sequence, *sequence, 0).unwrap();
        c.flush().unwrap();
    }
    machine.lose_power(Left::Nothing);
    assert_eq!(numbers(&drain(&mut cursor(&machine.start(), "c"))), [2]);
}

/// The disk is so full that the name could not be made durable. Written all the same, the file would go with the power,
/// and with it what the cursor passed, and what it was charged for.
#[test]
fn rule_15_a_cursor_is_not_written_to_a_file_whose_name_may_go() {
    // Of a directory whose sync fails, chance says what reaches the disk.
    for seed in 0..8 {
        let mut machine = Machine::of(seed, |_| {});
        let log = machine.start();
        let sequences = append_by_hand(&log, 0..3, 100);
        drop(cursor(&log, "c"));
        machine.kill();
        let log = machine.start();
        machine.fail(&[Call::SyncDir], 6, Errno::NOSPC);
        let opened = log.cursor("c", Start::Oldest, Need::Required);
        let mut c = opened.unwrap_or_else(|_| cursor(&log, "c"));
        drain(&mut c);
        c.ack(sequences[0], sequences[0], 0).unwrap();
        c.flush().unwrap();
        machine.lose_power(Left::Nothing);
        assert_eq!(numbers(&drain(&mut cursor(&machine.start(), "c"))), [1, 2], "seed {seed}");
    }
}

#[test]
fn rule_16_a_removed_cursor_does_not_come_back() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    append_by_hand(&log, 0..1, 100);
    drop(cursor(&log, "c"));
    log.remove_cursor("c").unwrap();
    machine.lose_power(Left::Nothing);
    assert_eq!(machine.start().orphans(), []);
}

/// A letter about a frame.
fn letter(sequence: u64) -> DeadLetter {
    let payload = payload(0, 1000);
    DeadLetter { sequence, first_item: 0, items: 1, content: 1, payload, reason: "no".to_owned() }
}

#[test]
fn rule_17_a_dead_letter_is_durable_before_its_frame_is_passed() {
    let mut machine = Machine::new(|_| {});
    let log = machine.start();
    let sequences = append_by_hand(&log, 0..1, 100);
    let mut c = cursor(&log, "c");
    drain(&mut c);
    let mut parked = c.append_letter(letter(sequences[0])).unwrap();
    assert!(poll(&mut parked).is_none(), "nobody wrote it");
    machine.spool().turn_writers();
    poll(&mut parked).unwrap().unwrap();
    machine.lose_power(Left::Nothing);
    machine.start();
    let frame = machine.reader().read_dead_letters("log").unwrap().next().unwrap().unwrap();
    let (_, found) = DeadLetter::from_frame(&frame).unwrap();
    assert_eq!((found.sequence, found.payload), (sequences[0], letter(sequences[0]).payload));
}

#[test]
fn rule_17_the_spare_of_the_dead_letters_outlives_the_power() {
    let mut machine = Machine::new(|_| {});
    machine.start();
    machine.clock.go(Duration::from_secs(2));
    machine.spool().turn_housekeeper();
    machine.lose_power(Left::Nothing);
    let log = machine.start();
    let sequences = append_by_hand(&log, 0..1, 100);
    let mut c = cursor(&log, "c");
    drain(&mut c);
    machine.disk.leave(0);
    let mut parked = c.append_letter(letter(sequences[0])).unwrap();
    machine.spool().turn_writers();
    poll(&mut parked).unwrap().expect("there is room for a letter on a full disk");
}

#[test]
fn rule_19_bytes_that_an_opening_set_aside_are_told_once_whatever_the_power_took() {
    let mut machine = Machine::new(|o| o.log.durability = Durability::Os);
    append_by_hand(&machine.start(), 0..3, 6000);
    machine.lose_power(Left::LastWrites);
    // The log goes on in another segment: only the copy knows.
    let log = machine.start();
    append_by_hand(&log, 3..4, 100);
    let found = log.losses().unwrap();
    assert_eq!(found.iter().map(|loss| loss.reason).collect::<Vec<_>>(), ["torn"]);
    machine.lose_power(Left::Nothing);
    let log = machine.start();
    assert_eq!(log.losses().unwrap(), found);
    log.told(&found[0]).unwrap();
    machine.lose_power(Left::Nothing);
    assert_eq!(machine.start().losses().unwrap(), []);
}

#[test]
fn rule_19_a_loss_is_on_the_disk_before_it_is_told() {
    let mut machine = Machine::new(|o| o.log.durability = Durability::Os);
    let log = machine.start();
    drop(cursor(&log, "c"));
    append_by_hand(&log, 0..3, 6000);
    machine.lose_power(Left::LastWrites);
    let log = machine.start();
    drain(&mut cursor(&log, "c"));
    let of_cursor =
        |log: &Log| log.losses().unwrap().into_iter().filter(|loss| loss.cursor.is_some()).collect::<Vec<_>>();
    let told = of_cursor(&log);
    assert_eq!(told.len(), 1);
    machine.lose_power(Left::Nothing);
    assert_eq!(of_cursor(&machine.start()), told, "nobody read anything");
}

#[test]
fn rule_20_what_a_killed_opening_left_undone_the_next_one_does() {
    let mut first = Machine::new(|_| {});
    let log = first.start();
    drop(cursor(&log, "c"));
    append_by_hand(&log, 0..1, 100);
    first.kill();
    for moment in first.moments(CHANGES) {
        let mut next = first.killed(&moment.tree);
        drop(cursor(&next.start(), "c"));
        next.lose_power(Left::Nothing);
        assert_eq!(next.start().orphans().len(), 1, "{:?}: the cursor", moment.after);

        let mut next = first.killed(&moment.tree);
        append_by_hand(&next.start(), 1..2, 100);
        next.lose_power(Left::Nothing);
        assert!(read(&next.start()).contains(&1), "{:?}: the frame", moment.after);
    }
}

#[test]
fn rule_21_what_an_opening_found_outlives_the_power() {
    let mut machine = Machine::new(|o| o.log.durability = Durability::Os);
    append_by_hand(&machine.start(), 0..2, 100);
    machine.kill();
    assert_eq!(read(&machine.start()), [0, 1], "the kernel had it");
    machine.lose_power(Left::Nothing);
    assert_eq!(read(&machine.start()), [0, 1]);
}
