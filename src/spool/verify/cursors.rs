//! The files of a log's cursors: both slots of each.

use super::super::cursor::{Half, Store};
use super::super::files::Files;
use super::super::format::cursor::{FILE_LEN, SLOT_LEN, Slot};
use super::super::format::name_crc;
use super::super::stream::Source;
use super::super::{Damage, Error, names};

/// What a log's cursors say, and where they cannot be read.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    /// The newer intact slot of each.
    pub(super) slots: Vec<Slot>,
    pub(super) damage: Vec<Damage>,
    pub(super) torn: Vec<Damage>,
}

/// Reads the files of a log's cursors.
pub(super) fn read(files: &Files) -> Result<Cursors, Error> {
    let (env, dir) = (files.env(), files.dir.join("cursors"));
    let mut cursors = Cursors::default();
    for listed in env.list(&dir)? {
        let Some(name) = names::decode(&listed.name) else { continue };
        // Removed while we looked, if there is none.
        let Some(halves) = Store::halves(env, &dir.join(&listed.name))? else { continue };
        let is_mine = |slot: &Slot| {
            slot.spool_id == env.spool_id && slot.log == name_crc(&files.name) && slot.name == name_crc(&name)
        };
        cursors.add(&name, halves, is_mine);
    }
    Ok(cursors)
}

impl Cursors {
    fn add(&mut self, name: &str, halves: [Half; 2], is_mine: impl Fn(&Slot) -> bool) {
        let (mut slots, mut bad) = (Vec::new(), Vec::new());
        for (offset, half) in [0, SLOT_LEN].into_iter().zip(halves) {
            match half {
                Half::Slot(slot) if is_mine(&slot) => slots.push(*slot),
                Half::Slot(_) | Half::Bad => bad.push(offset),
                // Until the second write there is nothing in the second slot.
                Half::Empty => {}
            }
        }
        let Some(newest) = slots.into_iter().max_by_key(|slot| slot.generation) else {
            let reason = format!("cursor {name}: neither slot verifies; it begins again at the oldest frame");
            self.damage.push(Damage { segment: 0, offset: 0, bytes: FILE_LEN, reason, frames_lost: 0 });
            return;
        };
        self.slots.push(newest);
        // A write that a crash cut leaves it so.
        self.torn.extend(bad.into_iter().map(|offset| {
            let reason = format!("cursor {name}: one slot does not verify, the other holds");
            Damage { segment: 0, offset, bytes: SLOT_LEN, reason, frames_lost: 0 }
        }));
    }
}
