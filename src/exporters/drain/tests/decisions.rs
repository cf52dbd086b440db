//! What is sent, waited for and parked, decided in virtual time: no disk, no network, no sleeping.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU64;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::time::Instant;

use super::super::flow::Flow;
use super::super::piece::Piece;
use super::super::{MaxRate, RetrySettings, Settings};
use super::{numbered, request, texts};
use crate::exporters::{Request, SendError, Sent, State};
use crate::otlp::Signal;
use crate::otlp::tests::empty_records;
use crate::spool::Frame;

const MAX_INTERVAL: Duration = Duration::from_secs(30);

fn settings() -> Settings {
    let retry = RetrySettings { randomization_factor: 0.0, ..RetrySettings::default() };
    Settings { retry, ..Settings::default() }
}

fn refused<T>() -> Result<T, SendError> {
    Err(SendError::Refused { reason: "INTERNAL".into() })
}

fn bad_data<T>() -> Result<T, SendError> {
    Err(SendError::BadData { reason: "INVALID_ARGUMENT".into() })
}

fn too_large<T>() -> Result<T, SendError> {
    Err(SendError::TooLarge { reason: "larger than max".into() })
}

fn away<T>(after: Option<Duration>) -> Result<T, SendError> {
    Err(SendError::Retry { reason: "UNAVAILABLE".into(), after })
}

fn texts_of(piece: &Piece) -> Vec<String> {
    texts(&piece.request().payload)
}

fn frame(sequence: u64, texts: &[String]) -> Frame {
    Frame {
        sequence,
        epoch: 1,
        time_unix_nanos: 0,
        items: texts.len() as u32,
        content: Signal::Logs.tag(),
        payload: request(texts),
    }
}

/// A drain in virtual time.
struct World {
    flow: Flow,
    start: Instant,
    now: Instant,
    /// Batches that are still in the log.
    log: VecDeque<Vec<Frame>>,
    next_sequence: u64,
    delivered: Vec<String>,
    parked: Vec<(String, String)>,
    acked: BTreeMap<u64, u64>,
    /// Texts of each request and when it was sent.
    sent: Vec<(Duration, Vec<String>)>,
}

impl World {
    fn new(settings: Settings) -> Self {
        let now = Instant::now();
        Self {
            flow: Flow::new(settings),
            start: now,
            now,
            log: VecDeque::new(),
            next_sequence: 1,
            delivered: Vec::new(),
            parked: Vec::new(),
            acked: BTreeMap::new(),
            sent: Vec::new(),
        }
    }

    /// One batch with a frame per group of texts.
    fn batch(mut self, frames: &[Vec<String>]) -> Self {
        let batch = frames.iter().enumerate().map(|(i, texts)| frame(self.next_sequence + i as u64, texts)).collect();
        self.next_sequence += frames.len() as u64;
        self.log.push_back(batch);
        self
    }

    fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Runs until nothing moves or `limit` has passed.
    fn run(&mut self, limit: Duration, mut backend: impl FnMut(&[String], Duration) -> Result<Sent, SendError>) {
        while self.elapsed() <= limit {
            self.settle();
            let piece = match self.flow.next(self.now, false) {
                None if self.flow.wants_more(self.now) && !self.log.is_empty() => {
                    let batch = self.log.pop_front().unwrap();
                    self.flow.add(Signal::Logs, batch);
                    continue;
                }
                None => self.flow.next(self.now, true),
                some => some,
            };
            let Some(piece) = piece else {
                match self.flow.wake_at(self.now) {
                    Some(at) => self.now = at,
                    None => break,
                }
                continue;
            };
            let Request { payload, items, .. } = piece.request();
            let texts = texts(&payload);
            assert_eq!(items, texts.len() as u64);
            let answer = backend(&texts, self.elapsed());
            self.sent.push((self.elapsed(), texts.clone()));
            if answer.is_ok() {
                self.delivered.extend(texts);
            }
            self.flow.answered(piece, answer, self.now);
        }
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(parking) = self.flow.parking.pop_front() {
            for letter in parking.piece.letters(&parking.reason) {
                let parked = texts(&letter.payload).into_iter().map(|text| (text, letter.reason.clone()));
                self.parked.extend(parked);
            }
            self.flow.parked(&parking);
        }
        for done in self.flow.ledger.take_done() {
            for sequence in done.first..=done.last {
                assert_eq!(self.acked.insert(sequence, 0), None, "frame {sequence} acked twice");
            }
            *self.acked.entry(done.last).or_default() += done.parked;
        }
    }

    fn all_acked(&self) -> bool {
        self.acked.len() as u64 == self.next_sequence - 1
    }

    fn parked_texts(&self) -> Vec<&str> {
        self.parked.iter().map(|(text, _)| text.as_str()).collect()
    }

    fn parked_items(&self) -> u64 {
        self.acked.values().sum()
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn what_the_backend_takes_is_acked_in_order() {
    let mut world = World::new(settings()).batch(&[numbered("a", 3), numbered("b", 2)]).batch(&[numbered("c", 1)]);
    world.run(HOUR, |_, _| Ok(Sent::default()));
    assert_eq!(world.delivered, ["a-0", "a-1", "a-2", "b-0", "b-1", "c-0"]);
    assert!(world.all_acked());
    assert_eq!(world.elapsed(), Duration::ZERO);
    assert_eq!(world.flow.state(), State::Ok);
}

#[test]
fn a_backend_that_is_away_is_tried_ever_more_slowly_and_order_is_kept() {
    let mut world = World::new(settings()).batch(&[numbered("a", 1)]).batch(&[numbered("b", 1)]);
    world.run(HOUR, |_, at| if at < Duration::from_secs(60) { away(None) } else { Ok(Sent::default()) });
    let times: Vec<u64> = world.sent.iter().map(|(at, _)| at.as_millis() as u64).collect();
    assert_eq!(times, [0, 5_000, 12_500, 23_750, 40_625, 65_937, 65_937]);
    assert_eq!(world.delivered, ["a-0", "b-0"]);
    assert!(world.parked.is_empty() && world.all_acked());
}

#[test]
fn the_delay_that_a_backend_asks_for_is_obeyed_and_clamped() {
    let mut world = World::new(settings()).batch(&[numbered("a", 1)]);
    let mut answers = VecDeque::from([Duration::from_secs(100), Duration::from_secs(1 << 40)]);
    world.run(HOUR, |_, _| answers.pop_front().map_or(Ok(Sent::default()), |after| away(Some(after))));
    let times: Vec<u64> = world.sent.iter().map(|(at, _)| at.as_secs()).collect();
    assert_eq!(times, [0, 100, 400]);
}

#[test]
fn an_outage_that_answers_refusals_parks_nothing() {
    // The stock gateway answers INTERNAL while its own backend is down.
    let mut world = (0..20).fold(World::new(settings()), |world, i| world.batch(&[numbered(&format!("b{i}"), 50)]));
    let down = Duration::from_secs(60)..Duration::from_secs(7260);
    let mut states = BTreeSet::new();
    world.run(8 * HOUR, |_, at| if at < down.end { refused() } else { Ok(Sent::default()) });
    states.insert(world.flow.state() as u8);
    assert_eq!(world.parked_texts(), Vec::<&str>::new());
    let delivered: BTreeSet<_> = world.delivered.iter().collect();
    assert_eq!(delivered.len(), 1000);
    assert!(world.all_acked());
    let during: Vec<_> = world.sent.iter().filter(|(at, _)| *at < down.end).collect();
    assert!(during.len() < 260, "{} requests in two hours is more than one per max_interval", during.len());
    assert_eq!(world.flow.state(), State::Ok);
}

#[test]
fn one_record_that_is_refused_alone_is_parked_and_all_others_pass() {
    for poison in [0, 1, 77, 99] {
        let poison = format!("a-{poison}");
        let mut world = World::new(settings()).batch(&[numbered("a", 100)]);
        world.run(HOUR, |texts, _| if texts.contains(&poison) { refused() } else { Ok(Sent::default()) });
        assert_eq!(world.parked_texts(), [poison.as_str()]);
        assert_eq!(world.delivered.len(), 99);
        assert!(world.all_acked());
        assert_eq!(world.parked_items(), 1);
        // Found at once, condemned, and given one more chance.
        assert_eq!(world.elapsed(), MAX_INTERVAL);
        assert_eq!(world.flow.state(), State::Ok);
    }
}

#[test]
fn several_refused_records_are_all_found() {
    for poisons in [vec![3, 4, 5], vec![0, 50, 99], vec![10, 30, 31, 32, 70]] {
        let poisons: BTreeSet<String> = poisons.iter().map(|i| format!("a-{i}")).collect();
        let mut world = World::new(settings()).batch(&[numbered("a", 100)]).batch(&[numbered("b", 10)]);
        let is_bad = |texts: &[String]| texts.iter().any(|text| poisons.contains(text));
        world.run(HOUR, |texts, _| if is_bad(texts) { refused() } else { Ok(Sent::default()) });
        let parked: BTreeSet<String> = world.parked.iter().map(|(text, _)| text.clone()).collect();
        assert_eq!(parked, poisons);
        assert_eq!(world.delivered.len(), 110 - poisons.len());
        assert!(world.all_acked());
    }
}

#[test]
fn a_refused_record_stands_while_nothing_else_proves_that_the_backend_works() {
    let mut world = World::new(settings()).batch(&[numbered("a", 1)]);
    world.run(HOUR, |_, _| refused());
    assert!(world.parked.is_empty() && !world.all_acked());
    assert_eq!(world.flow.state(), State::Refused);
    assert!(world.sent.len() > 100, "it is tried at max_interval");
    // Another request is accepted: now it is the record.
    let mut world = world.batch(&[numbered("b", 1)]);
    world.run(2 * HOUR, |texts, _| if texts == ["a-0"] { refused() } else { Ok(Sent::default()) });
    assert_eq!(world.parked_texts(), ["a-0"]);
    assert!(world.all_acked());
}

#[test]
fn many_refused_records_in_a_row_look_like_an_outage_until_others_are_accepted() {
    let is_bad = |texts: &[String]| texts.iter().any(|text| text.starts_with("bad"));
    let backend = |texts: &[String], _| if is_bad(texts) { refused() } else { Ok(Sent::default()) };
    let mut world = World::new(settings()).batch(&[numbered("bad", 10)]).batch(&[numbered("good", 1)]);
    world.run(HOUR, backend);
    assert!(!world.all_acked(), "ten refusals in a row, and nothing after them, parked all");
    for hour in 0..10 {
        world = world.batch(&[numbered(&format!("later-{hour}"), 1)]);
        world.run(world.elapsed() + HOUR, backend);
    }
    assert!(world.all_acked(), "{:?}", world.acked);
    assert_eq!((world.delivered.len(), world.parked.len()), (11, 10));
}

#[test]
fn a_record_that_was_refused_during_a_hiccup_is_not_parked() {
    let mut world = World::new(settings()).batch(&[numbered("a", 8)]);
    // One shard of the backend is away for a moment: odd records are refused, even ones accepted.
    let is_odd = |text: &String| text.ends_with(['1', '3', '5', '7']);
    world.run(HOUR, |texts, at| {
        let away = at < Duration::from_secs(20) && texts.iter().any(is_odd);
        if away { refused() } else { Ok(Sent::default()) }
    });
    assert!(world.parked.is_empty());
    assert_eq!(world.delivered.len(), 8);
}

#[test]
fn bad_data_is_bisected_at_once_and_in_order() {
    let mut world = World::new(settings()).batch(&[numbered("a", 10), numbered("b", 10)]);
    world.run(HOUR, |texts, _| if texts.contains(&"b-4".to_owned()) { bad_data() } else { Ok(Sent::default()) });
    assert_eq!(world.parked, [("b-4".to_owned(), "INVALID_ARGUMENT".to_owned())]);
    let mut expected = numbered("a", 10);
    expected.extend(numbered("b", 10));
    expected.retain(|text| text != "b-4");
    assert_eq!(world.delivered, expected);
    assert_eq!(world.elapsed(), Duration::ZERO);
    assert_eq!(world.acked, BTreeMap::from([(1, 0), (2, 1)]));
}

#[test]
fn bytes_without_records_are_parked_whole() {
    let mut world = World::new(settings());
    let garbage = Frame { payload: vec![0xff; 10].into(), ..frame(1, &numbered("a", 3)) };
    world.flow.add(Signal::Logs, vec![garbage]);
    let piece = world.flow.next(world.now, false).unwrap();
    assert_eq!(piece.request().items, 3);
    world.flow.answered(piece, bad_data(), world.now);
    let parking = world.flow.parking.pop_front().unwrap();
    assert_eq!(parking.piece.letters("x")[0].payload, vec![0xff; 10]);
    world.flow.parked(&parking);
    assert_eq!(world.flow.ledger.take_done()[0].parked, 3);
}

#[test]
fn what_is_too_large_is_cut_until_it_fits_and_the_size_is_remembered() {
    let long = |prefix: &str| (0..20).map(|i| format!("{prefix}-{i}-{}", "x".repeat(20_000))).collect::<Vec<_>>();
    let mut world = World::new(settings()).batch(&[long("a")]).batch(&[long("b")]);
    world.run(HOUR, |texts, _| {
        if texts.iter().map(String::len).sum::<usize>() > 110_000 { too_large() } else { Ok(Sent::default()) }
    });
    assert!(world.parked.is_empty() && world.all_acked());
    let numbers: Vec<String> = world.delivered.iter().map(|text| text[..text.len() - 20_001].to_owned()).collect();
    assert_eq!(numbers, [numbered("a", 20), numbered("b", 20)].concat());
    let refused = world.sent.iter().filter(|(_, texts)| texts.len() > 5).count();
    assert!(refused <= 3, "the second frame was cut before it was sent");
}

#[test]
fn one_record_that_is_too_large_is_parked_when_others_pass() {
    let mut world = World::new(settings()).batch(&[numbered("a", 8)]);
    world.run(HOUR, |texts, _| if texts.contains(&"a-6".to_owned()) { too_large() } else { Ok(Sent::default()) });
    assert_eq!(world.parked_texts(), ["a-6"]);
    assert_eq!(world.delivered.len(), 7);
}

#[test]
fn a_partial_success_parks_a_copy_and_counts_what_was_rejected() {
    let mut world = World::new(settings()).batch(&[numbered("a", 3), numbered("b", 2)]);
    let partial = Sent { rejected_items: 4, message: Some("no such field".into()) };
    world.run(HOUR, |_, _| Ok(partial.clone()));
    assert_eq!(world.sent.len(), 1, "a partial success must not be sent again");
    assert_eq!(world.parked.len(), 5);
    assert_eq!(world.parked[0].1, "partial success: 4 of 5 items rejected: no such field");
    assert_eq!(world.parked_items(), 4);
    assert!(world.all_acked());
}

#[test]
fn after_max_elapsed_time_records_go_to_the_dead_letters() {
    let mut settings = settings();
    settings.retry.max_elapsed_time = Duration::from_secs(60);
    for answer in [away(None), refused()] {
        let mut world = World::new(settings.clone()).batch(&[numbered("a", 2)]);
        world.run(HOUR, |_, _| answer.clone());
        assert_eq!(world.parked.len(), 2);
        assert!(world.parked[0].1.starts_with("given up after max_elapsed_time (60 s): "), "{}", world.parked[0].1);
        assert!((60..150).contains(&world.elapsed().as_secs()), "{:?}", world.elapsed());
        assert!(world.all_acked());
    }
}

#[test]
fn without_retries_a_failed_request_is_parked_after_one_attempt() {
    let mut settings = settings();
    settings.retry.enabled = false;
    for answer in [away(None), refused()] {
        let mut world = World::new(settings.clone()).batch(&[numbered("a", 2)]);
        world.run(HOUR, |_, _| answer.clone());
        assert_eq!((world.sent.len(), world.parked.len()), (1, 2));
        assert!(world.all_acked());
    }
}

#[test]
fn permanent_errors_park_is_the_specifications_letter() {
    let mut world = World::new(Settings { park_permanent_errors: true, ..settings() }).batch(&[numbered("a", 2)]);
    world.run(HOUR, |_, _| refused());
    assert_eq!((world.sent.len(), world.parked.len()), (1, 2));
    assert_eq!(world.elapsed(), Duration::ZERO);
}

#[test]
fn several_requests_fly_until_one_fails_then_one_tries() {
    let mut flow = Flow::new(Settings { requests_in_flight: 3, ..settings() });
    let now = Instant::now();
    for i in 1..=5 {
        flow.add(Signal::Logs, vec![frame(i, &numbered("a", 1))]);
    }
    let flying: Vec<_> = std::iter::from_fn(|| flow.next(now, false)).collect();
    assert_eq!(flying.len(), 3);
    for piece in flying {
        flow.answered(piece, away(None), now);
    }
    assert!(flow.next(now, true).is_none());
    let later = flow.wake_at(now).unwrap();
    assert_eq!(later - now, Duration::from_secs(5), "failures together are one failure");
    let probe = flow.next(later, false).unwrap();
    assert!(flow.next(later, true).is_none());
    flow.answered(probe, Ok(Sent::default()), later);
    assert_eq!(std::iter::from_fn(|| flow.next(later, false)).count(), 3);
}

#[test]
fn no_more_than_max_rate_is_sent_and_what_is_slower_is_not_held_up() {
    const RATE: u64 = 100_000;
    let paced = || Settings { max_rate: NonZeroU64::new(RATE).map(MaxRate::new), ..settings() };
    let mut world = World::new(paced());
    let text = "x".repeat(50_000);
    for _ in 0..10 {
        world = world.batch(&[vec![text.clone()]]);
    }
    world.run(Duration::from_secs(60), |_, _| Ok(Sent::default()));
    assert!(world.all_acked());
    for (n, (at, _)) in world.sent.iter().enumerate() {
        let expected = 0.5 * n as f64;
        assert!((at.as_secs_f64() - expected).abs() < 0.01, "request {n} at {at:?}");
    }
    // A request that comes when the last one's time is over goes at once.
    let mut flow = Flow::new(paced());
    let mut now = Instant::now();
    for sequence in 1..4 {
        flow.add(Signal::Logs, vec![frame(sequence, std::slice::from_ref(&text))]);
        let piece = flow.next(now, false).expect("not held up");
        flow.answered(piece, Ok(Sent::default()), now);
        now += Duration::from_millis(510);
    }
    assert_eq!(flow.max_batch(), RATE as usize, "what may be sent in a second");
}

#[test]
fn the_pipelines_of_an_exporter_share_its_max_rate() {
    let settings = Settings { max_rate: NonZeroU64::new(100_000).map(MaxRate::new), ..settings() };
    let mut flows = [(); 4].map(|()| Flow::new(settings.clone()));
    let start = Instant::now();
    for (flow, sequence) in flows.iter_mut().zip(1..) {
        flow.add(Signal::Logs, vec![frame(sequence, &["x".repeat(50_000)])]);
    }
    let (mut now, mut sent) = (start, Vec::new());
    while sent.len() < 4 {
        sent.extend(flows.iter_mut().filter_map(|flow| flow.next(now, false)).map(|_| now));
        now = flows.iter().filter_map(|flow| flow.wake_at(now)).min().unwrap_or(now);
    }
    for (at, n) in sent.iter().zip(0..) {
        let expected = start + Duration::from_millis(500) * n;
        assert!(
            at.saturating_duration_since(expected) < Duration::from_millis(10),
            "request {n} after {:?}",
            *at - start
        );
        assert!(*at >= expected, "request {n} after {:?}", *at - start);
    }
}

#[test]
fn a_frame_counts_as_held_until_its_last_part_is_done() {
    let mut flow = Flow::new(Settings { max_batch_items: 1, ..settings() });
    let now = Instant::now();
    flow.add(Signal::Logs, vec![frame(1, &["x".repeat(4 << 20), "x".repeat(3 << 20), "y".into()])]);
    for _ in 0..3 {
        let piece = flow.next(now, false).unwrap();
        assert!(!flow.wants_more(now), "the frame is in memory");
        flow.answered(piece, Ok(Sent::default()), now);
    }
    assert!(flow.wants_more(now));
}

#[test]
fn a_refused_record_does_not_keep_its_frame_in_memory() {
    let mut flow = Flow::new(settings());
    let mut now = Instant::now();
    for sequence in 1..=40 {
        let texts = [format!("bad-{sequence}"), "x".repeat(2 << 20)];
        flow.add(Signal::Logs, vec![frame(sequence, &texts)]);
        while let Some(piece) = flow.next(now, false) {
            let is_bad = texts_of(&piece).iter().any(|text| text.starts_with("bad"));
            flow.answered(piece, if is_bad { refused() } else { Ok(Sent::default()) }, now);
            now += Duration::from_millis(1);
        }
        assert!(flow.wants_more(now), "{sequence} small records are held");
    }
}

/// One request of millions of records, and a backend that is to get some at a time and is away for each at first.
#[test]
fn a_frame_is_cut_by_items_in_the_time_of_a_walk() {
    let items = 1_000_000;
    let payload = empty_records(items);
    let started = std::time::Instant::now();
    let mut flow = Flow::new(Settings { max_batch_items: 1_000, ..settings() });
    let mut now = Instant::now();
    let whole = Frame { items: items as u32, payload: payload.into(), ..frame(1, &[]) };
    flow.add(Signal::Logs, vec![whole]);
    let (mut sent, mut is_away) = (0, false);
    while sent < items as u64 {
        let Some(piece) = flow.next(now, false) else {
            now = flow.wake_at(now).unwrap();
            continue;
        };
        let Request { payload, items, .. } = piece.request();
        assert_eq!(crate::otlp::count(Signal::Logs, &payload), Ok(items as u32));
        is_away = !is_away;
        sent += if is_away { 0 } else { items };
        flow.answered(piece, if is_away { away(None) } else { Ok(Sent::default()) }, now);
    }
    assert!(!flow.is_busy());
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
}

#[test]
fn memory_is_bounded_and_a_larger_frame_goes_alone() {
    let mut flow = Flow::new(Settings { max_batch_bytes: 3 << 20, ..settings() });
    let now = Instant::now();
    let big = vec!["x".repeat(20 << 20)];
    assert!(flow.wants_more(now));
    flow.add(Signal::Logs, vec![frame(1, &big)]);
    let piece = flow.next(now, false).unwrap();
    assert!(!flow.wants_more(now));
    flow.answered(piece, Ok(Sent::default()), now);
    assert!(flow.wants_more(now));
}

proptest! {
    /// Whatever the backend answers: each record is delivered or parked, each frame acked once, no good record parked.
    #[test]
    fn every_record_is_delivered_or_parked(
        batches in vec(vec(1..12usize, 1..4), 1..6),
        fates in vec(0..20u8, 64),
        outage_minutes in 0..30u64,
        limit in 3..40usize,
        in_flight in 1..4usize,
        max_items in prop_oneof![Just(u64::MAX), 1..20u64],
    ) {
        let settings = Settings { requests_in_flight: in_flight, max_batch_items: max_items, ..settings() };
        let mut world = World::new(settings);
        let mut total = 0;
        for (i, frames) in batches.iter().enumerate() {
            let frames: Vec<_> = frames.iter().enumerate().map(|(j, n)| numbered(&format!("{i}-{j}"), *n)).collect();
            total += frames.iter().map(Vec::len).sum::<usize>();
            world = world.batch(&frames);
        }
        let fate = |text: &String| {
            let hash = text.bytes().fold(7usize, |h, b| h.wrapping_mul(31).wrapping_add(b.into()));
            if text.starts_with("good") { 9 } else { fates[hash % fates.len()] }
        };
        let outage = Duration::from_secs(60 * outage_minutes);
        let backend = |texts: &[String], at| {
            if at < outage { return if texts.len().is_multiple_of(2) { away(None) } else { refused() }; }
            if texts.len() > limit { return too_large(); }
            if texts.iter().any(|t| fate(t) == 0) { return bad_data(); }
            if texts.iter().any(|t| fate(t) == 1) { return refused(); }
            Ok(Sent::default())
        };
        world.run(48 * HOUR, backend);
        // Good records keep coming, and each is accepted.
        while !world.all_acked() && world.elapsed() < 1000 * HOUR {
            world = world.batch(&[vec![format!("good-{total}")]]);
            total += 1;
            world.run(world.elapsed() + HOUR, backend);
        }
        prop_assert!(world.all_acked(), "{:?} state {:?}", world.acked, world.flow.state());
        let delivered: BTreeSet<&String> = world.delivered.iter().collect();
        prop_assert_eq!(delivered.len(), world.delivered.len(), "delivered twice");
        prop_assert_eq!(delivered.len() + world.parked.len(), total);
        for (text, _) in &world.parked {
            prop_assert!(fate(text) <= 1, "a good record was parked: {}", text);
        }
        prop_assert_eq!(world.parked_items() as usize, world.parked.len());
    }
}
