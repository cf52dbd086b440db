//! Losses: what cursors dropped and nobody was told of yet.
//!
//! Invariants:
//! - A loss is first a durable counter, in the cursor's slot: in the same write that moves the cursor over it.
//! - Only what is durable is told: [`Log::losses`] writes before it answers.
//! - That it was told is durable too, but only after whoever tells has made the record durable ([`Log::told`]). A
//!   crash in between tells the loss twice, with the same total; no crash leaves one untold.
//! - What is not told is merged into what is told next: a counter has one untold stretch.

use std::path::PathBuf;
use std::sync::Arc;

use super::cursor::CursorCore;
use super::damage::Untold;
use super::dead_letter::KEEPER;
use super::env::lock;
use super::format::cursor::{Dropped, Reason};
use super::{Error, Log};

/// What a cursor lost for one reason since that was last told; or bytes of the log of which nobody knows what they
/// held.
///
/// ```
/// # use tidegate::spool::{LogOptions, Need, OnFull, Options, Spool, Start};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let options = LogOptions { max_size: Some(1 << 20), on_full: OnFull::DropOldest, ..LogOptions::default() };
/// # let log = spool.log_with("events", options)?;
/// # let cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
/// # for _ in 0..32 {
/// #     log.append_wait(1, vec![0; 64 << 10].into(), 1)?;
/// # }
/// // 32 frames of 64 KiB went into a log of 1 MiB that drops its oldest.
/// let loss = &log.losses()?[0];
/// assert_eq!((&*loss.log, loss.cursor.as_deref(), loss.reason), ("events", Some("backend"), "full"));
/// assert_eq!(loss.items, 32 - cursor.pending().items);
/// assert_eq!(loss.bytes, loss.items * (64 << 10));
/// // They were the oldest: one item a frame, from the first on.
/// assert_eq!(loss.sequences, Some((1, loss.items)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The log's name.
    pub log: String,
    /// The cursor's name; `dead_letters` for letters that their log dropped, since it was full; `None` for bytes that an
    /// opening found not to verify. What cursors miss of them, they count themselves.
    pub cursor: Option<String>,
    /// `full`, `max_age`, `damaged`, `torn`, `sync_failed`, `orphaned`, `cursor_lost` or `other`.
    pub reason: &'static str,
    /// Items dropped and not told of yet; 0 when nobody knows how many.
    pub items: u64,
    /// Payload bytes of them, or bytes that did not verify.
    pub bytes: u64,
    /// Items dropped for this reason since the cursor began, those of this loss included.
    pub total_items: u64,
    /// When the first and the last of them were dropped or found missing, nanoseconds since 1970; `None` when nobody
    /// knows.
    pub times_unix_nanos: Option<(u64, u64)>,
    /// Between which sequences, both included, they lie; `None` when nobody knows.
    pub sequences: Option<(u64, u64)>,
    /// The log has it from its dead letters.
    of_dead_letters: bool,
    told_by: ToldBy,
}

/// What remembers that a loss was told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ToldBy {
    /// The cursor's counter, as it was.
    Counter(Dropped),
    /// The name of the copy in `damaged/`.
    Copy(Untold),
}

impl Log {
    /// What cursors of this log dropped, what its dead letters dropped, and what their openings found not to verify, as
    /// far as it was not told. Durable before it is answered.
    ///
    /// ```
    /// # use tidegate::spool::{LogOptions, Need, OnFull, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let options = LogOptions { max_size: Some(1 << 20), on_full: OnFull::DropOldest, ..LogOptions::default() };
    /// # let log = spool.log_with("events", options)?;
    /// # let cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// # for _ in 0..32 {
    /// #     log.append_wait(1, vec![0; 64 << 10].into(), 1)?;
    /// # }
    /// // 32 frames of 64 KiB went into a log of 1 MiB that drops its oldest.
    /// let losses = log.losses()?;
    /// assert_eq!(losses.len(), 1);
    /// assert_eq!(losses[0].items + cursor.pending().items, 32);
    /// // Asked again, it says the same, until it is told that somebody was told.
    /// assert_eq!(log.losses()?, losses);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// I/O, when a counter cannot be made durable or `damaged/` not be listed.
    pub fn losses(&self) -> Result<Vec<Loss>, Error> {
        let mut losses = self.own_losses()?;
        match self.losses_of_dead_letters() {
            Ok(more) => losses.extend(more),
            // What the log itself lost is told all the same. The next call, when that was told, answers the error.
            Err(error) if losses.is_empty() => return Err(error),
            Err(_) => {}
        }
        Ok(losses)
    }

    fn losses_of_dead_letters(&self) -> Result<Vec<Loss>, Error> {
        let Some(dead) = self.0.dead_letters_if_any()? else { return Ok(Vec::new()) };
        let mut losses = dead.own_losses()?;
        // Cursors that send letters again count the same letters once more.
        losses.retain(|loss| loss.cursor.as_deref().is_none_or(|cursor| cursor == KEEPER));
        let of_dead_letters = |loss| Loss { log: self.0.name.clone(), of_dead_letters: true, ..loss };
        Ok(losses.into_iter().map(of_dead_letters).collect())
    }

    fn own_losses(&self) -> Result<Vec<Loss>, Error> {
        let untold = self.0.damaged.untold(&self.0.env, &self.0.name)?;
        let mut losses: Vec<Loss> = untold.into_iter().map(|copy| loss_of_bytes(&self.0.name, copy)).collect();
        for cursor in self.0.cursor_list() {
            let found = losses_of(&self.0.name, &cursor);
            if !found.is_empty() {
                // Even if nothing is to be written: another write of it may be under way and not durable yet.
                cursor.flush(&self.0)?;
            }
            losses.extend(found);
        }
        Ok(losses)
    }

    /// Remembers that a loss was told, durably within 100 ms. What came after it was answered stays to be told.
    ///
    /// ```
    /// # use tidegate::spool::{LogOptions, Need, OnFull, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let options = LogOptions { max_size: Some(1 << 20), on_full: OnFull::DropOldest, ..LogOptions::default() };
    /// # let log = spool.log_with("events", options)?;
    /// # let cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// # for _ in 0..32 {
    /// #     log.append_wait(1, vec![0; 64 << 10].into(), 1)?;
    /// # }
    /// for loss in log.losses()? {
    ///     // First tell somebody, durably; then:
    ///     log.told(&loss)?;
    /// }
    /// assert!(log.losses()?.is_empty());
    /// # drop(cursor);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// I/O; then it is told again.
    pub fn told(&self, loss: &Loss) -> Result<(), Error> {
        match loss.of_dead_letters {
            true => self.0.dead_letters()?.own_told(loss),
            false => self.own_told(loss),
        }
    }

    fn own_told(&self, loss: &Loss) -> Result<(), Error> {
        let counter = match &loss.told_by {
            ToldBy::Copy(copy) => return self.0.damaged.told(&self.0.env, copy),
            ToldBy::Counter(counter) => counter,
        };
        let cursor = loss.cursor.as_ref().and_then(|name| lock(&self.0.cursors).get(name).cloned());
        let reason = Reason::ALL.into_iter().find(|reason| reason.name() == loss.reason);
        if let (Some(cursor), Some(reason)) = (cursor, reason) {
            lock(&cursor.state).slot.dropped[reason as usize].told(counter);
            cursor.set_dirty();
        }
        Ok(())
    }

    /// Cursors that nobody has open, by name: their exporters are gone from the configuration. A required one holds
    /// data until `orphan_ttl` has passed since it was last open.
    ///
    /// ```
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// assert!(log.orphans().is_empty());
    /// drop(cursor);
    /// let orphans = log.orphans();
    /// assert_eq!((&*orphans[0].name, orphans[0].holds), ("backend", true));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn orphans(&self) -> Vec<Orphan> {
        let orphan = |cursor: Arc<CursorCore>| Orphan {
            holds: cursor.holds(),
            pending_items: cursor.pending(&self.0).items,
            file: cursor.file(),
            name: cursor.name.clone(),
        };
        self.0.cursor_list().into_iter().filter(|cursor| cursor.is_alone()).map(orphan).collect()
    }
}

/// A cursor that nobody has open.
///
/// ```
/// # use tidegate::spool::{Need, Options, Spool, Start};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
/// # let cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
/// log.append_wait(1, "two records".into(), 2)?;
/// drop(cursor);
///
/// let orphan = &log.orphans()[0];
/// assert_eq!((&*orphan.name, orphan.holds, orphan.pending_items), ("backend", true, 2));
/// assert_eq!(orphan.file, dir.path().join("logs/events/cursors/backend"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// The cursor's name.
    pub name: String,
    /// Whether it still keeps frames from going: it is required, and `orphan_ttl` has not passed.
    pub holds: bool,
    /// What it has not delivered.
    pub pending_items: u64,
    /// Its file. Without it, when the log is not open, the cursor does not exist.
    pub file: PathBuf,
}

fn losses_of(log: &str, cursor: &CursorCore) -> Vec<Loss> {
    let dropped = lock(&cursor.state).slot.dropped;
    let loss = |reason: Reason| {
        let counter = dropped[reason as usize];
        counter.is_untold().then(|| Loss {
            log: log.to_owned(),
            cursor: Some(cursor.name.clone()),
            reason: reason.name(),
            items: counter.items.saturating_sub(counter.told_items),
            bytes: counter.bytes.saturating_sub(counter.told_bytes),
            total_items: counter.items,
            times_unix_nanos: Some((counter.first_time, counter.last_time)),
            sequences: (counter.last_sequence > 0).then_some((counter.first_sequence, counter.last_sequence)),
            of_dead_letters: false,
            told_by: ToldBy::Counter(counter),
        })
    };
    Reason::ALL.into_iter().filter_map(loss).collect()
}

fn loss_of_bytes(log: &str, copy: Untold) -> Loss {
    Loss {
        log: log.to_owned(),
        cursor: None,
        reason: copy.reason.name(),
        items: 0,
        bytes: copy.bytes,
        total_items: 0,
        times_unix_nanos: None,
        sequences: None,
        of_dead_letters: false,
        told_by: ToldBy::Copy(copy),
    }
}
