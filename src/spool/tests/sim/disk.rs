//! A disk in memory, with a kernel's cache before it: [`Disk`] for a simulation.
//!
//! Every call is counted and traced. Calls that change the disk are the operations: an [`Observer`] sees the tree
//! before and after each. Faults are by the number of the call.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use rustix::io::Errno;

use super::content::PAGE;
use super::dice::Dice;
use super::tree::{Node, Tree, What};
use super::trouble::{Fault, Trouble, Troubles};
use crate::spool::env::lock;
use crate::spool::fs::{Access, Disk, DiskFile, Listed, Volume};

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    MakeDir,
    List,
    Open,
    Create,
    Rename,
    Remove,
    SyncDir,
    Volume,
    Size,
    Read,
    Write,
    Sync,
    Forget,
    Lock,
}

impl Call {
    /// Whether it may change what is on the disk.
    pub(crate) fn changes(self) -> bool {
        CHANGES.contains(&self)
    }
}

/// What changes the disk.
pub(crate) const CHANGES: &[Call] =
    &[Call::MakeDir, Call::Create, Call::Rename, Call::Remove, Call::SyncDir, Call::Write, Call::Sync, Call::Forget];

/// Sees every operation.
pub(crate) trait Observer: fmt::Debug + Send + Sync {
    fn before(&self);
    fn after(&self, call: Call, path: &Path, worked: bool, tree: &Tree);
}

/// The disk. Clones are the same disk.
#[derive(Debug, Clone)]
pub(crate) struct SimDisk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    observer: Option<Arc<dyn Observer>>,
}

#[derive(Debug)]
struct State {
    tree: Tree,
    calls: u64,
    /// More calls than these are a fault of who makes them.
    most_calls: u64,
    troubles: Troubles,
    /// Bytes that files may take.
    capacity: u64,
    /// Others take at once what files give back.
    is_besieged: bool,
    dice: Dice,
    locks: Vec<(usize, u64, bool)>,
    handles: u64,
    /// The present path of each file.
    paths: Vec<PathBuf>,
    trace: VecDeque<Traced>,
    /// Of all calls so far, and of every byte written.
    digest: u32,
}

/// What a call is about.
#[derive(Debug, Clone, Copy)]
enum On<'a> {
    Path(&'a Path),
    File(usize),
}

/// One call, for whoever looks for a cause.
#[derive(Debug, Clone)]
struct Traced {
    number: u64,
    call: Call,
    path: PathBuf,
    at: u64,
    length: u64,
    answer: Result<u64, Option<i32>>,
}

/// Bytes of a disk that has room for everything.
const ENDLESS: u64 = 1 << 40;
/// How many calls the trace keeps.
static TRACE: LazyLock<usize> = LazyLock::new(|| if std::env::var_os("CRASH_IMAGE").is_some() { 5000 } else { 120 });

impl SimDisk {
    pub(crate) fn new(tree: Tree, dice: Dice, observer: Option<Arc<dyn Observer>>) -> Self {
        let mut paths = vec![PathBuf::new(); tree.files.len()];
        tree.walk(0, Path::new("/"), &mut |path, file| paths[file] = path);
        let state = State {
            tree,
            paths,
            calls: 0,
            most_calls: u64::MAX,
            troubles: Troubles::default(),
            capacity: ENDLESS,
            is_besieged: false,
            dice,
            locks: Vec::new(),
            handles: 0,
            trace: VecDeque::new(),
            digest: 0,
        };
        Self(Arc::new(Shared { state: Mutex::new(state), observer }))
    }

    /// The same disk with another tree on it; calls are counted on.
    pub(crate) fn with(&self, tree: Tree) -> Self {
        let new = Self::new(tree, lock(&self.0.state).dice.clone(), self.0.observer.clone());
        {
            let (mut state, old) = (lock(&new.0.state), lock(&self.0.state));
            (state.calls, state.digest, state.capacity) = (old.calls, old.digest, old.capacity);
            state.most_calls = old.most_calls;
            state.trace = old.trace.clone();
            state.troubles = old.troubles.clone();
        }
        new
    }

    /// After the process ended: the tree as it was, and no locks.
    pub(crate) fn after_exit(&self) -> Self {
        self.with(self.tree())
    }

    pub(crate) fn tree(&self) -> Tree {
        lock(&self.0.state).tree.clone()
    }

    pub(crate) fn calls(&self) -> u64 {
        lock(&self.0.state).calls
    }

    /// Of what follows, so many calls are enough: one more ends the test.
    pub(crate) fn allow(&self, calls: u64) {
        let mut state = lock(&self.0.state);
        state.most_calls = state.calls.saturating_add(calls);
    }

    pub(crate) fn digest(&self) -> u32 {
        lock(&self.0.state).digest
    }

    pub(crate) fn add(&self, fault: Fault) {
        self.troubles(|troubles| troubles.add(fault));
    }

    /// What goes wrong on it.
    pub(crate) fn troubles<T>(&self, look: impl FnOnce(&mut Troubles) -> T) -> T {
        look(&mut lock(&self.0.state).troubles)
    }

    /// Every call from now on works, as far as there is room.
    pub(crate) fn heal(&self) {
        let mut state = lock(&self.0.state);
        state.troubles.heal();
        (state.capacity, state.is_besieged) = (ENDLESS, false);
    }

    /// From now on files may take so many bytes more.
    pub(crate) fn leave(&self, bytes: u64) {
        let mut state = lock(&self.0.state);
        state.capacity = state.used() + bytes;
    }

    /// From now on others take all that there is room for.
    pub(crate) fn besiege(&self) {
        self.leave(0);
        lock(&self.0.state).is_besieged = true;
    }

    /// Where a directory is, if it is there.
    pub(crate) fn dir(&self, path: &Path) -> Option<usize> {
        lock(&self.0.state).dir(path).ok()
    }

    /// The last calls, one a line.
    pub(crate) fn trace(&self) -> String {
        let state = lock(&self.0.state);
        let line = |t: &Traced| {
            let answer = match t.answer {
                Ok(n) => format!("{n}"),
                Err(errno) => format!("error {errno:?}"),
            };
            format!("{:6} {:?} {} {}+{} -> {answer}\n", t.number, t.call, t.path.display(), t.at, t.length)
        };
        state.trace.iter().map(line).collect()
    }

    /// Makes one call: counts it, fails it if it shall, lets the observer see it.
    fn call<T>(
        &self,
        call: Call,
        on: On<'_>,
        at: (u64, u64),
        act: impl FnOnce(&mut State, Option<Trouble>) -> io::Result<(T, u64)>,
    ) -> io::Result<T> {
        let observer = self.0.observer.as_ref().filter(|_| call.changes());
        if let Some(observer) = observer {
            observer.before();
        }
        let (result, path, tree) = {
            let mut state = lock(&self.0.state);
            let trouble = state.trouble(call);
            let result = act(&mut state, trouble);
            let answer = result.as_ref().map(|(_, n)| *n).map_err(io::Error::raw_os_error);
            let path = match on {
                On::Path(path) => path.to_owned(),
                On::File(file) => state.paths[file].clone(),
            };
            state.note(call, &path, at, answer);
            (result, path, observer.map(|_| state.tree.clone()))
        };
        if let (Some(observer), Some(tree)) = (observer, &tree) {
            observer.after(call, &path, result.is_ok(), tree);
        }
        result.map(|(answer, _)| answer)
    }
}

impl State {
    fn trouble(&mut self, call: Call) -> Option<Trouble> {
        self.calls += 1;
        assert!(self.calls <= self.most_calls, "P5: it does not end");
        let (trouble, fills) = self.troubles.meet(self.calls, call);
        if fills {
            self.capacity = self.used();
        }
        trouble
    }

    fn note(&mut self, call: Call, path: &Path, (at, length): (u64, u64), answer: Result<u64, Option<i32>>) {
        let number = self.calls;
        let said = answer.unwrap_or(u64::MAX);
        let mut digest = crc32c::crc32c_append(self.digest, path.as_os_str().as_encoded_bytes());
        for part in [call as u64, at, length, said] {
            digest = crc32c::crc32c_append(digest, &part.to_le_bytes());
        }
        self.digest = digest;
        if self.trace.len() == *TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back(Traced { number, call, path: path.to_owned(), at, length, answer });
    }

    fn used(&self) -> u64 {
        self.tree.bytes(0).1
    }

    fn dir(&self, path: &Path) -> io::Result<usize> {
        let mut dir = 0;
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            match self.tree.dirs[dir].cached.get(&*name.to_string_lossy()) {
                Some(Node::Dir(next)) => dir = *next,
                Some(Node::File(_)) => return Err(Errno::NOTDIR.into()),
                None => return Err(Errno::NOENT.into()),
            }
        }
        Ok(dir)
    }

    /// The directory of a path's last name, and that name.
    fn place(&self, path: &Path) -> io::Result<(usize, String)> {
        let dir = self.dir(path.parent().unwrap_or(Path::new("/")))?;
        Ok((dir, path.file_name().unwrap_or_default().to_string_lossy().into_owned()))
    }

    fn find(&self, path: &Path) -> io::Result<(usize, String, Option<Node>)> {
        let (dir, name) = self.place(path)?;
        let node = self.tree.dirs[dir].cached.get(&name).copied();
        Ok((dir, name, node))
    }

    /// How many of these bytes there is room for.
    fn room(&self, file: usize, offset: u64, length: u64) -> u64 {
        if self.capacity == ENDLESS {
            return length;
        }
        let content = &self.tree.files[file].cached;
        let mut left = self.capacity.saturating_sub(self.used());
        let mut at = offset;
        while at < offset + length {
            if !content.has_page(at) {
                if left < PAGE as u64 {
                    return at - offset;
                }
                left -= PAGE as u64;
            }
            at = (at / PAGE as u64 + 1) * PAGE as u64;
        }
        length
    }
}

fn fail_if(trouble: Option<Trouble>) -> io::Result<()> {
    match trouble {
        Some(Trouble::Fails(errno)) => Err(errno.into()),
        _ => Ok(()),
    }
}

impl Disk for SimDisk {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.call(Call::MakeDir, On::Path(path), (0, 0), |state, trouble| {
            let (dir, name, node) = state.find(path)?;
            match node {
                Some(Node::Dir(_)) => return Ok(((), 0)),
                Some(Node::File(_)) => return Err(Errno::NOTDIR.into()),
                None => fail_if(trouble)?,
            }
            state.tree.dirs.push(Arc::default());
            let node = Node::Dir(state.tree.dirs.len() - 1);
            state.tree.change(dir, What::Make(name, node));
            Ok(((), 1))
        })
    }

    fn protect_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        self.call(Call::List, On::Path(path), (0, 0), |state, trouble| {
            fail_if(trouble)?;
            let dir = state.dir(path)?;
            let listed = state.tree.dirs[dir].cached.iter().map(|(name, node)| match node {
                Node::Dir(_) => Listed { name: name.clone(), is_dir: true, size: 4096 },
                Node::File(file) => {
                    Listed { name: name.clone(), is_dir: false, size: state.tree.files[*file].cached.size }
                }
            });
            let listed: Vec<Listed> = listed.collect();
            let count = listed.len() as u64;
            Ok((listed, count))
        })
    }

    fn open(&self, path: &Path, how: Access) -> io::Result<Arc<dyn DiskFile>> {
        let call = if how == Access::Create { Call::Create } else { Call::Open };
        let (file, handle) = self.call(call, On::Path(path), (0, 0), |state, trouble| {
            fail_if(trouble)?;
            let (dir, name, node) = state.find(path)?;
            let file = match (node, how) {
                (None, Access::Create) => {
                    state.tree.files.push(Arc::default());
                    let file = state.tree.files.len() - 1;
                    state.paths.push(path.to_owned());
                    state.tree.change(dir, What::Make(name, Node::File(file)));
                    file
                }
                (Some(_), Access::Create) => return Err(Errno::EXIST.into()),
                (Some(Node::File(file)), _) => file,
                (Some(Node::Dir(_)), _) => return Err(Errno::ISDIR.into()),
                (None, _) => return Err(Errno::NOENT.into()),
            };
            state.handles += 1;
            Ok(((file, state.handles), file as u64))
        })?;
        let writes = how != Access::Read;
        Ok(Arc::new(SimFile { disk: self.clone(), file, handle, writes }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Call::Rename, On::Path(to), (0, 0), |state, trouble| {
            fail_if(trouble)?;
            let (dir, old, node) = state.find(from)?;
            let (to_dir, new) = state.place(to)?;
            assert_eq!(dir, to_dir, "renamed within a directory");
            let node = node.ok_or(Errno::NOENT)?;
            if let Node::File(file) = node {
                state.paths[file] = to.to_owned();
            }
            state.tree.change(dir, What::Rename(old, new, node));
            Ok(((), 0))
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(Call::Remove, On::Path(path), (0, 0), |state, trouble| {
            fail_if(trouble)?;
            let (dir, name, node) = state.find(path)?;
            node.ok_or(Errno::NOENT)?;
            state.tree.change(dir, What::Remove(name));
            if state.is_besieged {
                state.capacity = state.used();
            }
            Ok(((), 0))
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call(Call::SyncDir, On::Path(path), (0, 0), |state, trouble| {
            let dir = state.dir(path)?;
            let failed = fail_if(trouble);
            match failed {
                Ok(()) => state.tree.sync_dir(dir),
                Err(_) => state.tree.fail_sync_dir(dir, &mut state.dice),
            }
            failed.map(|()| ((), 0))
        })
    }

    fn volume(&self, path: &Path) -> io::Result<Volume> {
        self.call(Call::Volume, On::Path(path), (0, 0), |state, trouble| {
            fail_if(trouble)?;
            let used = if state.capacity == ENDLESS { 0 } else { state.used() };
            let available = state.capacity.saturating_sub(used);
            Ok((
                Volume {
                    total: state.capacity,
                    available,
                    network: None,
                    copy_on_write: false,
                    largest_file: u64::MAX,
                },
                0,
            ))
        })
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    file: usize,
    handle: u64,
    writes: bool,
}

impl SimFile {
    fn sync(&self) -> io::Result<()> {
        self.disk.call(Call::Sync, On::File(self.file), (0, 0), |state, trouble| {
            let failed = fail_if(trouble);
            match failed {
                Ok(()) => state.tree.sync_file(self.file),
                Err(_) => state.tree.fail_sync_file(self.file, &mut state.dice),
            }
            failed.map(|()| ((), 0))
        })
    }
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        self.disk.call(Call::Size, On::File(self.file), (0, 0), |state, trouble| {
            fail_if(trouble)?;
            let size = state.tree.files[self.file].cached.size;
            Ok((size, size))
        })
    }

    fn read_some(&self, into: &mut Vec<u8>, offset: u64, length: usize) -> io::Result<usize> {
        self.disk.call(Call::Read, On::File(self.file), (offset, length as u64), |state, trouble| {
            fail_if(trouble)?;
            let length = if trouble.is_some() { length.div_ceil(2) } else { length };
            let n = state.tree.files[self.file].cached.read(into, offset, length);
            Ok((n, n as u64))
        })
    }

    fn write_some(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let length = buffers.iter().map(|b| b.len()).sum::<usize>();
        self.disk.call(Call::Write, On::File(self.file), (offset, length as u64), |state, trouble| {
            if !self.writes {
                return Err(Errno::BADF.into());
            }
            let mut bytes = Vec::with_capacity(length);
            buffers.iter().for_each(|b| bytes.extend_from_slice(b));
            let room = state.room(self.file, offset, length as u64) as usize;
            let part = match trouble {
                None => length,
                Some(Trouble::Short) => length.div_ceil(2),
                Some(Trouble::Fails(Errno::INTR)) => 0,
                // Of a write that fails any part may be in the file.
                Some(Trouble::Fails(_)) => state.dice.roll(length as u64 + 1) as usize,
            };
            let part = part.min(room);
            if part > 0 {
                state.digest = crc32c::crc32c_append(state.digest, &bytes[..part]);
                state.tree.write(self.file, offset, &bytes[..part]);
            }
            fail_if(trouble)?;
            if part == 0 && length > 0 { Err(Errno::NOSPC.into()) } else { Ok((part, part as u64)) }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn forget_cache(&self) -> io::Result<()> {
        self.disk.call(Call::Forget, On::File(self.file), (0, 0), |state, trouble| {
            fail_if(trouble)?;
            state.tree.forget_cache(self.file);
            Ok(((), 0))
        })
    }

    fn try_lock(&self, alone: bool) -> io::Result<bool> {
        self.disk.call(Call::Lock, On::File(self.file), (u64::from(alone), 0), |state, trouble| {
            fail_if(trouble)?;
            let in_the_way = |l: &&(usize, u64, bool)| l.0 == self.file && l.1 != self.handle && (alone || l.2);
            if state.locks.iter().any(|l| in_the_way(&l)) {
                return Ok((false, 0));
            }
            state.locks.retain(|l| l.1 != self.handle);
            state.locks.push((self.file, self.handle, alone));
            Ok((true, 1))
        })
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        lock(&self.disk.0.state).locks.retain(|l| l.1 != self.handle);
    }
}
