//! What is wrong with the logs: told at the start and when it begins and ends, red in health while it lasts, else a
//! note there.

use std::collections::BTreeSet;

use crate::config::SELF_LOG;
use crate::spool::{Log, Opening, Orphan, Spool};

/// What an operator should know of the logs now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Troubles {
    /// Health is red for these: something is to be done.
    pub(super) red: Vec<String>,
    /// Health is green with these: they pass, or are over.
    pub(super) notes: Vec<String>,
}

impl Troubles {
    /// As it is now. Reads nothing from the disk but what a cursor without an exporter waits for.
    pub(super) fn look(spool: &Spool) -> Self {
        let mut troubles = Self::default();
        for log in spool.logs() {
            troubles.red.extend(log.trouble().map(|error| error.to_string()));
            let orphans = orphans(&log).into_iter().filter(|orphan| orphan.holds);
            troubles.red.extend(orphans.map(|orphan| told(&log, &orphan)));
            let damaged = log.damaged_bytes().unwrap_or(0);
            if damaged > 0 {
                troubles.notes.push(damage(spool, &log, damaged));
            }
        }
        if spool.age_is_paused() {
            troubles.notes.push("the wall clock was set: for an hour nothing is dropped for its age".to_owned());
        }
        troubles
    }
}

/// The logs of which it was told that they refuse appends.
#[derive(Debug, Default)]
pub(super) struct Refusing(BTreeSet<String>);

impl Refusing {
    /// Tells which logs refuse appends now and which take them again.
    pub(super) fn look(&mut self, spool: &Spool) {
        for log in spool.logs() {
            match log.trouble() {
                Some(error) if self.0.insert(log.name().to_owned()) => tracing::warn!("appends are refused: {error}"),
                None if self.0.remove(log.name()) => tracing::info!(log = log.name(), "appends are taken again"),
                _ => {}
            }
        }
    }
}

/// The start-up lines: what the opening found, and cursors whose exporter is gone.
pub(super) fn facts(spool: &Spool) -> Vec<String> {
    let mut facts = Vec::new();
    for log in spool.logs() {
        facts.extend(found(log.name(), log.opening()));
        facts.extend(orphans(&log).iter().map(|orphan| told(&log, orphan)));
    }
    facts
}

/// The cursors of a log that are without an exporter and not done. Those of `self` say nothing new.
fn orphans(log: &Log) -> Vec<Orphan> {
    let mut orphans = if log.name() == SELF_LOG { Vec::new() } else { log.orphans() };
    orphans.retain(|orphan| orphan.holds || orphan.pending_items > 0);
    orphans
}

fn told(log: &Log, orphan: &Orphan) -> String {
    let Orphan { name, pending_items, file, .. } = orphan;
    let (log, held) = (log.name(), if orphan.holds { "holds" } else { "no longer holds" });
    format!(
        "log {log}: cursor {name} has no exporter and {held} {pending_items} undelivered records: configure its exporter \
         again, wait until orphan_ttl has passed, or stop the agent and remove {}",
        file.display()
    )
}

fn damage(spool: &Spool, log: &Log, bytes: u64) -> String {
    let directory = spool.directory().join("damaged");
    format!("log {}: {bytes} bytes that do not verify are kept in {}", log.name(), directory.display())
}

fn found(log: &str, opening: &Opening) -> Vec<String> {
    let cut = opening.cuts.iter().map(|cut| {
        let (segment, offset, bytes, reason) = (cut.segment, cut.offset, cut.bytes, &cut.reason);
        format!("log {log}: {bytes} bytes of segment {segment:016x} at byte {offset} do not verify: {reason}")
    });
    let lost = opening.lost_cursors.iter().map(|cursor| {
        format!(
            "log {log}: the file of cursor {cursor} was damaged: it begins at the oldest record, some are sent again"
        )
    });
    let ahead = opening.ahead_cursors.iter().map(|cursor| {
        format!("log {log}: cursor {cursor} is beyond every record that is there: newer segments are lost or another's")
    });
    cut.chain(lost).chain(ahead).collect()
}
