//! The files of a log's cursors: both slots of each.

use super::super::files::Files;
use super::super::format::cursor::{FILE_LEN, SLOT_LEN, Slot};
use super::super::format::name_crc;
use super::super::fs::Access;
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
        let path = dir.join(&listed.name);
        let file = match env.open(&path, Access::Read) {
            // Removed while we looked.
            Err(e) if e.is_not_found() => continue,
            other => other?,
        };
        let mut bytes = Vec::new();
        file.read(&mut bytes, 0, FILE_LEN as usize).map_err(|e| Error::io("read", &path, e))?;
        let is_mine = |slot: &Slot| {
            slot.spool_id == env.spool_id && slot.log == name_crc(&files.name) && slot.name == name_crc(&name)
        };
        cursors.add(&name, &bytes, is_mine);
    }
    Ok(cursors)
}

impl Cursors {
    fn add(&mut self, name: &str, file: &[u8], is_mine: impl Fn(&Slot) -> bool) {
        let at = |slot: u64| file.get((slot * SLOT_LEN) as usize..).unwrap_or_default();
        let slots = [0, 1].map(|slot| Slot::decode(at(slot)).ok().filter(&is_mine));
        if slots.iter().all(Option::is_none) {
            let reason = format!("cursor {name}: neither slot verifies; it begins again at the oldest frame");
            self.damage.push(Damage { segment: 0, offset: 0, bytes: FILE_LEN, reason, frames_lost: 0 });
            return;
        }
        for (slot, found) in (0..).zip(&slots) {
            // Until the second write there is nothing in the second slot. A write that a crash cut leaves less.
            let is_empty = at(slot).iter().take(SLOT_LEN as usize).all(|byte| *byte == 0);
            if found.is_none() && !is_empty {
                let reason = format!("cursor {name}: one slot does not verify, the other holds");
                let offset = slot * SLOT_LEN;
                self.torn.push(Damage { segment: 0, offset, bytes: SLOT_LEN, reason, frames_lost: 0 });
            }
        }
        self.slots.extend(slots.into_iter().flatten().max_by_key(|slot| slot.generation));
    }
}
