//! Files and directories as a kernel has them cached, and as the disk has them.
//!
//! Cheap to copy: a copy is taken after every operation. [`Tree::after_power_cut`] makes from one what a disk may
//! hold when the power goes.
//!
//! What is not synced is kept as a list: writes of whole sectors, oldest first, and changes of names. After a power
//! cut a sector has what any of its unsynced writes put there, or what it had before; a file's size is any that it
//! had since its last sync, or between; a name is as before or as any change left it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::content::{Content, PAGE, SECTOR};
use super::dice::Dice;

/// A file or directory, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    File(usize),
    Dir(usize),
}

pub(crate) type Names = BTreeMap<String, Node>;

/// All files and directories.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    pub(crate) files: Vec<Arc<File>>,
    pub(crate) dirs: Vec<Arc<Dir>>,
    /// Unsynced changes of names, oldest first.
    changes: Vec<Change>,
    /// Changes and writes, counted together: what came before what.
    clock: u64,
    /// The last change that a sync made durable: a journal has all before it.
    journaled: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct File {
    pub(crate) cached: Content,
    durable: Content,
    unsynced: Vec<Write>,
    /// A sync failed: the cache shows bytes as clean that the disk lacks.
    doomed: bool,
}

/// Whole sectors as one write left them.
#[derive(Debug, Clone)]
struct Write {
    when: u64,
    first: u64,
    sectors: Arc<[u8]>,
    /// Where the write itself ended.
    end: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Dir {
    pub(crate) cached: Names,
    durable: Names,
}

#[derive(Debug, Clone)]
struct Change {
    when: u64,
    dir: usize,
    what: What,
}

/// What is on the disk of all that is not synced when the power goes, at the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    /// Names, and no bytes.
    Names,
    /// Names, and of each file its last write.
    LastWrites,
}

/// A change of names within one directory.
#[derive(Debug, Clone)]
pub(crate) enum What {
    Make(String, Node),
    Rename(String, String, Node),
    Remove(String),
}

impl What {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Make(name, node) => drop(names.insert(name.clone(), *node)),
            Self::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
            Self::Remove(name) => drop(names.remove(name)),
        }
    }
}

impl Tree {
    /// Nothing but a directory for the spool's.
    pub(crate) fn new() -> Self {
        let dirs = vec![Arc::default(), Arc::default()];
        let mut tree = Self { files: Vec::new(), dirs, changes: Vec::new(), clock: 0, journaled: 0 };
        tree.change(0, What::Make("var".to_owned(), Node::Dir(1)));
        tree.sync_dir(0);
        tree
    }

    pub(crate) fn change(&mut self, dir: usize, what: What) {
        self.clock += 1;
        what.apply(&mut Arc::make_mut(&mut self.dirs[dir]).cached);
        self.changes.push(Change { when: self.clock, dir, what });
    }

    pub(crate) fn write(&mut self, file: usize, offset: u64, bytes: &[u8]) {
        self.clock += 1;
        let when = self.clock;
        let file = Arc::make_mut(&mut self.files[file]);
        let end = offset + bytes.len() as u64;
        file.cached.put(offset, bytes);
        file.cached.size = file.cached.size.max(end);
        let (first, sectors) = file.cached.sectors(offset, bytes.len() as u64);
        file.unsynced.push(Write { when, first, sectors, end });
    }

    pub(crate) fn sync_file(&mut self, file: usize) {
        if self.files[file].is_clean() {
            return;
        }
        let file = Arc::make_mut(&mut self.files[file]);
        if file.doomed {
            // Only what was written since is dirty.
            for write in std::mem::take(&mut file.unsynced) {
                file.durable.put(write.first, &write.sectors);
            }
            file.durable.cut(file.cached.size);
        } else {
            file.durable = file.cached.clone();
            file.unsynced.clear();
        }
    }

    /// A sync that fails: any part of the writes reached the disk; the rest never will, and the cache hides it.
    pub(crate) fn fail_sync_file(&mut self, file: usize, dice: &mut Dice) {
        let file = Arc::make_mut(&mut self.files[file]);
        file.durable = file.cut(&mut Fate::new(dice, u64::MAX));
        file.unsynced.clear();
        file.doomed = true;
    }

    /// Drops clean pages: what the disk lacks is gone. The size is no page.
    pub(crate) fn forget_cache(&mut self, file: usize) {
        if !self.files[file].doomed {
            return;
        }
        let file = Arc::make_mut(&mut self.files[file]);
        let size = file.cached.size;
        file.cached = file.durable.clone();
        for write in &file.unsynced {
            file.cached.put(write.first, &write.sectors);
        }
        file.cached.cut(size);
        file.doomed = false;
    }

    pub(crate) fn sync_dir(&mut self, dir: usize) {
        let (mine, others) = std::mem::take(&mut self.changes).into_iter().partition(|c| c.dir == dir);
        self.changes = others;
        self.settle(dir, mine);
    }

    /// A directory's sync that fails: the first changes may have reached the disk.
    pub(crate) fn fail_sync_dir(&mut self, dir: usize, dice: &mut Dice) {
        let mut left = dice.roll(4);
        let (mine, others) = std::mem::take(&mut self.changes).into_iter().partition(|c| {
            let reached = c.dir == dir && left > 0;
            left -= u64::from(reached);
            reached
        });
        self.changes = others;
        self.settle(dir, mine);
    }

    fn settle(&mut self, dir: usize, changes: Vec<Change>) {
        let Some(last) = changes.last() else { return };
        self.journaled = self.journaled.max(last.when);
        let names = &mut Arc::make_mut(&mut self.dirs[dir]).durable;
        changes.iter().for_each(|change| change.what.apply(names));
    }

    /// What the disk may hold after a power cut.
    pub(crate) fn after_power_cut(&self, dice: &mut Dice) -> Self {
        let mut durable: Vec<Names> = self.dirs.iter().map(|d| d.durable.clone()).collect();
        let latest = self.changes.last().map_or(self.journaled, |c| c.when.max(self.journaled));
        // A journal keeps names in order: what is lost is lost from some change on. Without one, any may be lost.
        let journal = self.journaled + dice.roll(latest - self.journaled + 1);
        let ordered = dice.chance(60);
        for change in &self.changes {
            let kept = if ordered { change.when <= journal } else { dice.chance(50) };
            if kept {
                change.what.apply(&mut durable[change.dir]);
            }
        }
        let mut fate = Fate::new(dice, self.clock);
        let files = self.files.iter().map(|file| {
            if file.is_clean() && !file.doomed {
                return file.clone();
            }
            let content = if file.is_clean() { file.durable.clone() } else { file.cut(&mut fate) };
            Arc::new(File { cached: content.clone(), durable: content, ..File::default() })
        });
        let files = files.collect();
        let dirs = durable.into_iter().map(|names| Arc::new(Dir { cached: names.clone(), durable: names })).collect();
        Self { files, dirs, changes: Vec::new(), clock: 0, journaled: 0 }
    }

    /// What the disk holds after a power cut that leaves only this of what was not synced.
    pub(crate) fn after_worst_cut(&self, left: Left) -> Self {
        let files = self.files.iter().map(|file| {
            let mut content = file.durable.clone();
            if let (Left::LastWrites, Some(last)) = (left, file.unsynced.last()) {
                content.put(last.first, &last.sectors);
                content.size = content.size.max(last.end);
            }
            Arc::new(File { cached: content.clone(), durable: content, ..File::default() })
        });
        let dirs = self.dirs.iter().map(|dir| {
            let names = if left == Left::Nothing { &dir.durable } else { &dir.cached };
            Arc::new(Dir { cached: names.clone(), durable: names.clone() })
        });
        Self { files: files.collect(), dirs: dirs.collect(), changes: Vec::new(), clock: 0, journaled: 0 }
    }

    /// Whether every byte of the file at this path is synced.
    pub(crate) fn is_synced(&self, path: &Path) -> bool {
        let mut is_synced = true;
        self.walk(0, Path::new("/"), &mut |found, file| is_synced &= found != path || self.files[file].is_clean());
        is_synced
    }

    /// Every file below a directory, with its path.
    pub(crate) fn walk(&self, dir: usize, path: &Path, visit: &mut dyn FnMut(PathBuf, usize)) {
        for (name, node) in &self.dirs[dir].cached {
            match node {
                Node::File(file) => visit(path.join(name), *file),
                Node::Dir(below) => self.walk(*below, &path.join(name), visit),
            }
        }
    }

    /// Bytes that all files below a directory have, and bytes that they take.
    pub(crate) fn bytes(&self, dir: usize) -> (u64, u64) {
        let size = |node: &Node| match node {
            Node::File(file) => (self.files[*file].cached.size, self.files[*file].cached.allocated()),
            Node::Dir(dir) => self.bytes(*dir),
        };
        self.dirs[dir].cached.values().map(size).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    }

    /// The first path below `dir` at which two trees differ, as their caches have them.
    pub(crate) fn difference(&self, dir: usize, other: &Self, other_dir: usize, but: &str) -> Option<String> {
        let (mine, others) = (&self.dirs[dir].cached, &other.dirs[other_dir].cached);
        for name in mine.keys().chain(others.keys()).filter(|name| *name != but) {
            let found = match (mine.get(name), others.get(name)) {
                (Some(Node::File(a)), Some(Node::File(b))) => {
                    let same = self.files[*a].cached.is_same(&other.files[*b].cached);
                    (!same).then(|| "contents".to_owned())
                }
                (Some(Node::Dir(a)), Some(Node::Dir(b))) => self.difference(*a, other, *b, but),
                (mine, _) => Some(if mine.is_some() { "gone" } else { "new" }.to_owned()),
            };
            if let Some(found) = found {
                return Some(format!("{name}: {found}"));
            }
        }
        None
    }
}

impl File {
    fn is_clean(&self) -> bool {
        self.unsynced.is_empty() && self.durable.size == self.cached.size
    }

    /// What the disk may have of this file.
    fn cut(&self, fate: &mut Fate) -> Content {
        let mut content = self.durable.clone();
        for (at, write) in self.unsynced.iter().enumerate() {
            fate.begin(write, at + 1 == self.unsynced.len());
            for (index, sector) in write.sectors.chunks(SECTOR).enumerate() {
                if fate.keeps(write.first + (index * SECTOR) as u64) {
                    content.put(write.first + (index * SECTOR) as u64, sector);
                }
            }
        }
        content.cut(fate.size(self));
        content
    }
}

/// Which of the unsynced writes reach the disk.
#[derive(Debug)]
struct Fate<'a> {
    dice: &'a mut Dice,
    how: How,
    /// Of the write at hand, or of the page at hand.
    kept: bool,
    page: u64,
    /// Of the write at hand: sectors from here on are lost.
    torn_at: u64,
}

#[derive(Debug, Clone, Copy)]
enum How {
    Nothing,
    Everything,
    /// All up to some moment; the write of that moment may be torn.
    UpTo(u64),
    Writes,
    Pages,
    /// Each sector alone, so many of 100.
    Sectors(u64),
}

impl<'a> Fate<'a> {
    fn new(dice: &'a mut Dice, latest: u64) -> Self {
        let how = match dice.roll(16) {
            0 => How::Nothing,
            1 => How::Everything,
            2..6 if latest < u64::MAX => How::UpTo(latest - dice.roll(latest.min(24) + 1)),
            2..8 => How::Writes,
            8..11 => How::Pages,
            11..13 => How::Sectors(50),
            13..15 => How::Sectors(90),
            _ => How::Sectors(10),
        };
        Self { dice, how, kept: false, page: u64::MAX, torn_at: u64::MAX }
    }

    fn begin(&mut self, write: &Write, is_last: bool) {
        self.page = u64::MAX;
        self.torn_at = u64::MAX;
        self.kept = match self.how {
            How::Nothing => false,
            How::UpTo(moment) => write.when <= moment,
            How::Writes => self.dice.chance(50),
            _ => true,
        };
        let may_tear = matches!(self.how, How::UpTo(moment) if moment == write.when) || is_last;
        if may_tear && matches!(self.how, How::UpTo(_) | How::Writes) && self.dice.chance(50) {
            self.torn_at = write.first + self.dice.roll(write.sectors.len() as u64);
        }
    }

    fn keeps(&mut self, sector: u64) -> bool {
        match self.how {
            How::Pages => {
                if self.page != sector / PAGE as u64 {
                    self.page = sector / PAGE as u64;
                    self.kept = self.dice.chance(50);
                }
                self.kept
            }
            How::Sectors(percent) => self.dice.chance(percent),
            _ => self.kept && sector < self.torn_at,
        }
    }

    /// With the bytes, or without: a size is metadata.
    fn size(&mut self, file: &File) -> u64 {
        let (old, new) = (file.durable.size, file.cached.size);
        if old == new {
            return new;
        }
        match self.how {
            How::Nothing if self.dice.chance(50) => old,
            How::Everything => new,
            How::UpTo(moment) if self.dice.chance(70) => {
                file.unsynced.iter().filter(|w| w.when <= moment).map(|w| w.end).fold(old, u64::max)
            }
            _ => match self.dice.roll(8) {
                0 => old,
                1 => old + self.dice.roll(new.saturating_sub(old) + 1),
                2 => (old + self.dice.roll(new.saturating_sub(old) + 1)).next_multiple_of(PAGE as u64).min(new),
                3 if !file.unsynced.is_empty() => self.dice.pick(&file.unsynced).end.max(old),
                _ => new,
            },
        }
    }
}
