//! What was lost, counted by where and why, and told as `collector.loss`.

use std::collections::BTreeMap;

use crate::receivers::kernel::events::catalogue::Kind;
use crate::receivers::kernel::events::clock;
use crate::receivers::kernel::events::event::{Attributes, Event};
use crate::receivers::kernel::probes::hooks::Hook;

/// Where and why something was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cause {
    /// `ring`, `decode`, `receiver`.
    pub stage: &'static str,
    /// `ring_full`, `malformed`, `log_full`, …
    pub reason: &'static str,
    /// The hook, where one is known.
    pub hook: Option<Hook>,
    /// The event, where one is known.
    pub kind: Option<Kind>,
}

/// What was lost for one cause since it was last told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Loss {
    count: u64,
    bytes: u64,
    total: u64,
    first_unix_nanos: u64,
    last_unix_nanos: u64,
    sequences: Option<(u64, u64)>,
}

/// The counts of all causes.
#[derive(Debug, Default)]
pub(crate) struct Losses(BTreeMap<Cause, Loss>);

impl Losses {
    /// Counts `count` records lost until `unix_nanos`.
    pub(crate) fn add(&mut self, cause: Cause, count: u64, bytes: u64, unix_nanos: u64) {
        if count == 0 {
            return;
        }
        let loss = self.0.entry(cause).or_default();
        if loss.count == 0 {
            loss.first_unix_nanos = unix_nanos;
        }
        loss.count += count;
        loss.total += count;
        loss.bytes += bytes;
        loss.last_unix_nanos = loss.last_unix_nanos.max(unix_nanos);
    }

    /// Says between which sequence numbers and times the lost records of a cause lie; `add` says how many they are.
    pub(crate) fn locate(&mut self, cause: Cause, sequences: (u64, u64), first_unix_nanos: u64) {
        let loss = self.0.entry(cause).or_default();
        let (first, last) = loss.sequences.unwrap_or(sequences);
        loss.sequences = Some((first.min(sequences.0), last.max(sequences.1)));
        if loss.count == 0 {
            loss.first_unix_nanos = first_unix_nanos;
        }
    }

    /// All that was ever lost for a cause.
    #[cfg(test)]
    pub(crate) fn total(&self, cause: Cause) -> u64 {
        self.0.get(&cause).map_or(0, |loss| loss.total)
    }

    #[cfg(test)]
    pub(crate) fn sequences(&self, cause: Cause) -> Option<(u64, u64)> {
        self.0.get(&cause)?.sequences
    }

    /// One event for each cause with something untold, which is told by it. `begin` gives each its common attributes.
    pub(crate) fn tell(&mut self, mut begin: impl FnMut(Kind) -> Event) -> Vec<Event> {
        for loss in self.0.values_mut().filter(|loss| loss.count == 0) {
            // Numbers that came later after all.
            loss.sequences = None;
        }
        let untold = self.0.iter_mut().filter(|(_, loss)| loss.count > 0);
        untold
            .map(|(cause, loss)| {
                let mut event = begin(Kind::Loss);
                describe(&mut event.attributes, *cause, loss);
                event.body = body(*cause, loss.count);
                *loss = Loss { total: loss.total, ..Loss::default() };
                event
            })
            .collect()
    }
}

fn describe(attributes: &mut Attributes, cause: Cause, loss: &Loss) {
    attributes.text("collector.loss.stage", cause.stage.to_owned());
    attributes.text("collector.loss.reason", cause.reason.to_owned());
    attributes.int("collector.loss.count", loss.count);
    attributes.nonzero("collector.loss.bytes", loss.bytes);
    attributes.text("collector.loss.signal", "logs".to_owned());
    attributes.text("collector.loss.component", "kernel".to_owned());
    attributes.text("kernel.event.name", cause.kind.map(|kind| kind.name().to_owned()));
    // The hook of the record itself would be another attribute of the same name: this is the hook that lost.
    attributes.text("kernel.hook.name", cause.hook.map(|hook| hook.name().to_owned()));
    attributes.text("collector.loss.first_time", clock::rfc3339(loss.first_unix_nanos));
    attributes.text("collector.loss.last_time", clock::rfc3339(loss.last_unix_nanos));
    attributes.some_int("collector.loss.first_sequence", loss.sequences.map(|(first, _)| first));
    attributes.some_int("collector.loss.last_sequence", loss.sequences.map(|(_, last)| last));
    attributes.int("collector.loss.total", loss.total);
}

fn body(cause: Cause, count: u64) -> String {
    let what = match (cause.kind, cause.hook) {
        (Some(kind), _) => kind.name(),
        (None, Some(hook)) => hook.name(),
        (None, None) => "kernel",
    };
    let records = if count == 1 { "record" } else { "records" };
    format!("{count} {records} of {what} lost: {} ({})", cause.reason, cause.stage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receivers::kernel::events::collector::Reporter;

    const FULL: Cause =
        Cause { stage: "ring", reason: "ring_full", hook: Some(Hook::KfreeSkb), kind: Some(Kind::PacketDrop) };

    fn tell(losses: &mut Losses) -> Vec<Event> {
        let mut reporter = Reporter::new("boot");
        losses.tell(|kind| reporter.begin(kind))
    }

    #[test]
    fn a_loss_is_told_once_and_its_total_goes_on() {
        let mut losses = Losses::default();
        losses.add(FULL, 3, 0, 10);
        losses.add(FULL, 2, 0, 20);
        let told = tell(&mut losses);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].body, "5 records of kernel.net.packet_drop lost: ring_full (ring)");
        assert!(tell(&mut losses).is_empty(), "nothing is untold");
        losses.add(FULL, 1, 0, 30);
        assert_eq!(tell(&mut losses)[0].body, "1 record of kernel.net.packet_drop lost: ring_full (ring)");
        assert_eq!(losses.total(FULL), 6);
    }

    #[test]
    fn a_step_that_no_counter_confirms_is_not_told() {
        let mut losses = Losses::default();
        losses.locate(FULL, (3, 8), 10);
        assert!(tell(&mut losses).is_empty());
        assert_eq!(losses.sequences(FULL), None);
    }

    /// Panics unless the first loss that is told has these numbers.
    #[track_caller]
    fn first_has(losses: &mut Losses, numbers: &[(&str, u64)]) {
        let mut expected = Attributes::default();
        numbers.iter().for_each(|(key, number)| expected.int(key, *number));
        let told = tell(losses).remove(0).attributes.into_inner();
        for attribute in expected.into_inner() {
            assert!(told.contains(&attribute), "{attribute:?} is not in {told:?}");
        }
    }

    #[test]
    fn a_request_that_found_no_room_is_told_in_bytes_too() {
        let mut losses = Losses::default();
        losses.add(Cause { stage: "receiver", reason: "log_full", hook: None, kind: Some(Kind::OomKill) }, 1, 900, 10);
        first_has(&mut losses, &[("collector.loss.bytes", 900)]);
    }

    #[test]
    fn lost_records_that_later_ones_stepped_over_are_told_with_their_numbers() {
        let mut losses = Losses::default();
        losses.locate(FULL, (3, 5), 10);
        losses.locate(FULL, (7, 8), 20);
        losses.add(FULL, 5, 0, 30);
        let numbers =
            [("collector.loss.first_sequence", 3), ("collector.loss.last_sequence", 8), ("collector.loss.total", 5)];
        first_has(&mut losses, &numbers);
    }

    #[test]
    fn each_cause_is_told_by_itself() {
        let mut losses = Losses::default();
        losses.add(FULL, 1, 0, 10);
        losses.add(Cause { stage: "receiver", reason: "log_full", hook: None, kind: Some(Kind::OomKill) }, 1, 900, 10);
        assert_eq!(tell(&mut losses).len(), 2);
    }
}
