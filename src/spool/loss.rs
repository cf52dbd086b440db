//! Losses: what cursors dropped and nobody was told of yet.
//!
//! A loss is first a durable counter, in the cursor's slot. Only then is it told, and that it was told is durable
//! too: after a crash a loss may be told twice, and never not at all.

use super::core::LogCore;
use super::env::lock;
use super::format::cursor::Reason;
use super::{Error, Log};

/// Items that a cursor dropped for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The log's name.
    pub log: String,
    /// The cursor's name.
    pub cursor: String,
    /// `full`, `max_age`, `damaged`, `torn`, `sync_failed`, `orphaned`, `cursor_lost` or `other`.
    pub reason: &'static str,
    /// Items dropped and not told of yet.
    pub items: u64,
    /// Items dropped for this reason since the cursor began, those of this loss included.
    pub total_items: u64,
    /// Payload bytes dropped for this reason since the cursor began.
    pub total_bytes: u64,
}

impl Log {
    /// What cursors of this log dropped and was not told of. Durable before it is answered.
    ///
    /// # Errors
    /// I/O, when a counter cannot be made durable.
    pub fn losses(&self) -> Result<Vec<Loss>, Error> {
        let mut losses = Vec::new();
        for cursor in self.0.cursor_list() {
            let found = losses_of(&self.0, &cursor.name, &lock(&cursor.state).slot.dropped);
            if !found.is_empty() && cursor.is_dirty() {
                cursor.flush(&self.0)?;
            }
            losses.extend(found);
        }
        Ok(losses)
    }

    /// Remembers that a loss was told, durably within 100 ms.
    pub fn told(&self, loss: &Loss) {
        let Some(cursor) = lock(&self.0.cursors).get(&loss.cursor).cloned() else { return };
        let Some(reason) = Reason::ALL.into_iter().find(|r| r.name() == loss.reason) else { return };
        let counter = &mut lock(&cursor.state).slot.dropped[reason as usize];
        counter.told_items = counter.items.min(counter.told_items + loss.items);
        cursor.set_dirty();
    }

    /// Cursors that nobody opened in this run: their exporters are gone from the configuration. A required one holds
    /// data until `orphan_ttl` has passed since it was last open.
    #[must_use]
    pub fn orphans(&self) -> Vec<String> {
        let orphans = self.0.cursor_list();
        let is_orphan =
            |c: &&std::sync::Arc<super::cursor::CursorCore>| !c.seen.load(std::sync::atomic::Ordering::Relaxed);
        orphans.iter().filter(is_orphan).map(|c| c.name.clone()).collect()
    }
}

fn losses_of(log: &LogCore, cursor: &str, dropped: &[super::format::cursor::Dropped; 8]) -> Vec<Loss> {
    let loss = |reason: Reason| {
        let counter = dropped[reason as usize];
        Loss {
            log: log.name.clone(),
            cursor: cursor.to_owned(),
            reason: reason.name(),
            items: counter.items - counter.told_items.min(counter.items),
            total_items: counter.items,
            total_bytes: counter.bytes,
        }
    };
    Reason::ALL.into_iter().map(loss).filter(|loss| loss.items > 0).collect()
}
