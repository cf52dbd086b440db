//! The segments of one log, by id. Headers are read when they are first needed; no file stays open here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::Error;
use super::env::Env;
use super::names;
use super::segment::Segment;

/// The segments of a log.
#[derive(Debug)]
pub(crate) struct Table {
    dir: PathBuf,
    log: u32,
    rows: BTreeMap<u64, Row>,
}

#[derive(Debug)]
struct Row {
    size: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Unread,
    Known(Arc<Segment>),
    /// Not a segment of this log: left where it is, skipped.
    Strange(Error),
}

/// A file that stands where a segment should and is none of this log's.
#[derive(Debug, Clone)]
pub(crate) struct Strange {
    pub(crate) id: u64,
    pub(crate) size: u64,
    pub(crate) error: Error,
}

impl Table {
    /// From the listed ids and sizes.
    pub(crate) fn new(dir: PathBuf, log: u32, files: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let rows = files.into_iter().map(|(id, size)| (id, Row { size, state: State::Unread })).collect();
        Self { dir, log, rows }
    }

    pub(crate) fn insert(&mut self, segment: Arc<Segment>) {
        self.rows.insert(segment.id, Row { size: segment.size(), state: State::Known(segment) });
    }

    /// Adds files that were not there when the table was made, and forgets those that are gone.
    pub(crate) fn refresh(&mut self, files: &BTreeMap<u64, u64>) {
        self.rows.retain(|id, _| files.contains_key(id));
        for (id, size) in files {
            self.rows.entry(*id).or_insert(Row { size: *size, state: State::Unread });
        }
    }

    pub(crate) fn remove(&mut self, id: u64) {
        self.rows.remove(&id);
    }

    /// The highest id, of a strange file too.
    pub(crate) fn newest_id(&self) -> Option<u64> {
        self.rows.keys().next_back().copied()
    }

    /// Bytes of all files, as they were listed or last set.
    pub(crate) fn bytes(&self) -> u64 {
        self.rows.values().map(Row::size).sum()
    }

    /// Files that are not this log's, among those read so far.
    pub(crate) fn strange(&self) -> Vec<Strange> {
        let strange = self.rows.iter().filter_map(|(id, row)| match &row.state {
            State::Strange(error) => Some(Strange { id: *id, size: row.size, error: error.clone() }),
            _ => None,
        });
        strange.collect()
    }

    /// The segment of this id; `None` when there is none or the file is strange. A newer format is an error.
    pub(crate) fn get(&mut self, env: &Env, id: u64) -> Result<Option<Arc<Segment>>, Error> {
        match self.rows.get(&id).map(|row| &row.state) {
            None | Some(State::Strange(_)) => return Ok(None),
            Some(State::Known(segment)) => return Ok(Some(segment.clone())),
            Some(State::Unread) => {}
        }
        let path = self.dir.join(names::segment_file(id));
        let found = match Segment::load(env, &path, id, self.log, &[]) {
            Err(error) if error.is_corrupt() => Segment::load(env, &path, id, self.log, &self.epochs_near(env, id)),
            other => other,
        };
        let state = match found {
            Ok(segment) => State::Known(Arc::new(segment)),
            Err(error) if error.is_corrupt() => State::Strange(error),
            Err(error) => return Err(error),
        };
        let known = if let State::Known(segment) = &state { Some(segment.clone()) } else { None };
        if let Some(row) = self.rows.get_mut(&id) {
            row.state = state;
        }
        Ok(known)
    }

    /// The first segment with an id above this one.
    pub(crate) fn after(&mut self, env: &Env, id: u64) -> Result<Option<Arc<Segment>>, Error> {
        let mut id = id;
        while let Some(next) = self.rows.range(id.saturating_add(1)..).next().map(|(id, _)| *id) {
            if let Some(segment) = self.first_of(env, [next])? {
                return Ok(Some(segment));
            }
            id = next;
        }
        Ok(None)
    }

    /// The last segment with an id below this one.
    pub(crate) fn before(&mut self, env: &Env, id: u64) -> Result<Option<Arc<Segment>>, Error> {
        let mut id = id;
        while let Some(next) = self.rows.range(..id).next_back().map(|(id, _)| *id) {
            if let Some(segment) = self.first_of(env, [next])? {
                return Ok(Some(segment));
            }
            id = next;
        }
        Ok(None)
    }

    pub(crate) fn oldest(&mut self, env: &Env) -> Result<Option<Arc<Segment>>, Error> {
        self.after(env, 0)
    }

    pub(crate) fn newest(&mut self, env: &Env) -> Result<Option<Arc<Segment>>, Error> {
        self.before(env, u64::MAX)
    }

    /// The segment in which this sequence is or would be: the last one that begins at or before it, else the oldest.
    pub(crate) fn holding(&mut self, env: &Env, sequence: u64) -> Result<Option<Arc<Segment>>, Error> {
        let ids: Vec<u64> = self.rows.keys().copied().collect();
        let (mut low, mut high) = (0, ids.len());
        // Ids and first sequences rise together, so that a few headers are enough.
        while low < high {
            let middle = low + (high - low) / 2;
            let Some(segment) = self.first_of(env, ids[middle..].iter().copied())? else {
                high = middle;
                continue;
            };
            if segment.header.first_sequence <= sequence { low = middle + 1 } else { high = middle }
        }
        match self.first_of(env, ids[..low].iter().rev().copied())? {
            Some(segment) if segment.header.first_sequence <= sequence => Ok(Some(segment)),
            _ => self.oldest(env),
        }
    }

    /// Every segment of this log, oldest first.
    pub(crate) fn all(&mut self, env: &Env) -> Result<Vec<Arc<Segment>>, Error> {
        let ids: Vec<u64> = self.rows.keys().copied().collect();
        let mut all = Vec::with_capacity(ids.len());
        for id in ids {
            all.extend(self.first_of(env, [id])?);
        }
        Ok(all)
    }

    fn first_of(&mut self, env: &Env, ids: impl IntoIterator<Item = u64>) -> Result<Option<Arc<Segment>>, Error> {
        for id in ids {
            match self.get(env, id) {
                Ok(Some(segment)) => return Ok(Some(segment)),
                Ok(None) => {}
                // Reclaimed by its owner while we, a reader beside it, looked.
                Err(e) if e.is_not_found() => self.remove(id),
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    /// Epochs of the neighbours, for a file whose own header is lost.
    fn epochs_near(&self, env: &Env, id: u64) -> Vec<u64> {
        let epoch = |(id, row): (&u64, &Row)| match &row.state {
            State::Known(segment) => Some(segment.header.epoch),
            State::Strange(_) => None,
            State::Unread => {
                let path = self.dir.join(names::segment_file(*id));
                Some(Segment::load(env, &path, *id, self.log, &[]).ok()?.header.epoch)
            }
        };
        let below = self.rows.range(..id).next_back();
        let above = self.rows.range(id.saturating_add(1)..).next();
        below.into_iter().chain(above).filter_map(epoch).collect()
    }
}

impl Row {
    fn size(&self) -> u64 {
        if let State::Known(segment) = &self.state { segment.size() } else { self.size }
    }
}
