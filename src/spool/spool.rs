//! The handle of a spool: a directory of logs that this process owns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::bell::Bell;
use super::core::LogCore;
use super::cursor::Store;
use super::damage::Damaged;
use super::dead_letter::DeadLetters;
use super::env::{Env, lock};
use super::format::name_crc;
use super::housekeeper::Housekeeper;
use super::lock::DirectoryLock;
use super::queue::{Queue, Stop};
use super::reader::Reader;
use super::recovery;
use super::space::{Account, Space};
use super::spare::Spares;
use super::syncs::Syncs;
use super::view::View;
use super::worker::Worker;
use super::writer::{Serving, Writer};
use super::{Error, Inspection, Log, LogOptions, Options, id, names};

/// A directory of logs, owned by this process. Cheap to clone.
///
/// The directory is locked from [`Spool::open`] to [`Spool::close`], or until the last clone is dropped. Dropping
/// without closing is what a crash is: nothing acknowledged is lost, and the next opening has a little more to do.
///
/// ```
/// use tidegate::spool::{Options, Spool};
///
/// let dir = tempfile::tempdir()?;
/// let spool = Spool::open(dir.path(), Options::default())?;
/// let appended = spool.log("events")?.append_wait(1, "one frame".into(), 1)?;
/// drop(spool); // As a crash; `spool.close()` would end it cleanly.
///
/// let spool = Spool::open(dir.path(), Options::default())?;
/// let log = spool.log("events")?;
/// assert_eq!((log.durable_sequence(), log.opening().clean), (appended.sequence, false));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Spool(Arc<Shared>);

/// What the clones of a spool share.
#[derive(Debug)]
pub(crate) struct Shared {
    dir: PathBuf,
    env: Env,
    options: Options,
    space: Arc<Space>,
    damaged: Arc<Damaged>,
    logs: Mutex<BTreeMap<String, Running>>,
    bell: Arc<Bell>,
    housekeeper: Mutex<Option<Housekeeper>>,
    lock: Mutex<Option<DirectoryLock>>,
}

#[derive(Debug)]
struct Running {
    log: Log,
    writer: Option<Worker>,
}

impl Spool {
    /// Opens or creates a data directory (mode 0700) and takes its lock for life. Logs are opened by name.
    ///
    /// ```
    /// use std::os::unix::fs::PermissionsExt;
    /// use tidegate::spool::{Options, Spool};
    ///
    /// # let parent = tempfile::tempdir()?;
    /// let dir = parent.path().join("var/telemetry");
    /// let _spool = Spool::open(&dir, Options::default())?;
    /// assert_eq!(dir.metadata()?.permissions().mode() & 0o777, 0o700);
    /// assert!(Spool::open(&dir, Options::default()).is_err_and(|error| error.is_owned()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Owned, with the owner's pid, when another process or another `Spool` has it; refused when it is a link, is
    /// writable by others, or is on a network file system; newer, when a newer program made it; I/O.
    pub fn open(dir: &Path, options: Options) -> Result<Self, Error> {
        Self::open_on(Env::real(), dir, options)
    }

    /// As [`Spool::open`], on another machine than the real one.
    pub(crate) fn open_on(mut env: Env, dir: &Path, options: Options) -> Result<Self, Error> {
        env.epoch = u64::from_le_bytes(env.random()?);
        env.make_dirs(dir)?;
        env.disk.protect_dir(dir).map_err(|e| Error::io("shut others out of", dir, e))?;
        let space = Arc::new(Space::new(&env, dir, &options)?);
        let lock = DirectoryLock::take(&env, dir)?;
        for name in ["logs", "dead"] {
            env.make_dir(&dir.join(name))?;
        }
        env.spool_id = id::find_or_make(&env, dir)?;
        // `lock`, `logs` and `dead` themselves.
        env.sync_dir(dir)?;
        space.look(&env, dir);
        let damaged = Arc::new(Damaged::open(&env, dir, space.clone())?);
        let bell = Arc::new(Bell::default());
        let (keeper_env, keeper_dir) = (env.clone(), dir.to_owned());
        let housekeeper = Housekeeper::start(keeper_env, keeper_dir, space.clone(), options.orphan_ttl, bell.clone())?;
        Ok(Self(Arc::new(Shared {
            dir: dir.to_owned(),
            env,
            options,
            space,
            damaged,
            logs: Mutex::default(),
            bell,
            housekeeper: Mutex::new(Some(housekeeper)),
            lock: Mutex::new(Some(lock)),
        })))
    }

    /// The data directory.
    ///
    /// ```
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// assert_eq!(spool.directory(), dir.path());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.0.dir
    }

    /// The id of this spool: random, given when the directory was made.
    ///
    /// ```
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// let id = spool.id();
    /// spool.close()?;
    /// assert_eq!(Spool::open(dir.path(), Options::default())?.id(), id);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> u128 {
        self.0.env.spool_id
    }

    /// The random number of this opening: it names, with a sequence, each frame for ever.
    ///
    /// ```
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// let epoch = spool.epoch();
    /// spool.close()?;
    /// assert_ne!(Spool::open(dir.path(), Options::default())?.epoch(), epoch);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.0.env.epoch
    }

    /// The cap of the whole directory in bytes.
    ///
    /// ```
    /// use tidegate::spool::{Options, Spool};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let spool = Spool::open(dir.path(), Options { max_size: Some(1 << 30), ..Options::default() })?;
    /// assert_eq!(spool.max_size(), 1 << 30);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn max_size(&self) -> u64 {
        self.0.space.max_size()
    }

    /// The log of this name, opened or created with the spool's log options. The name becomes a directory's: letters,
    /// digits, `_`, `-` and inner dots stay, all else is escaped; at most 200 bytes then.
    ///
    /// ```
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// let log = spool.log("logs/gateway")?;
    /// log.append_wait(1, "one frame".into(), 1)?;
    /// // The same log, not another.
    /// assert_eq!(spool.log("logs/gateway")?.durable_sequence(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Invalid name; newer format; damage that leaves nothing of this log's; I/O.
    pub fn log(&self, name: &str) -> Result<Log, Error> {
        self.log_with(name, self.0.options.log.clone())
    }

    /// As [`Spool::log`], with options of its own. A log that is open already keeps the options it has.
    ///
    /// ```
    /// use tidegate::spool::LogOptions;
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    ///
    /// let log = spool.log_with("small frames", LogOptions { max_frame: 8, ..LogOptions::default() })?;
    /// assert!(log.append(1, "nine byte".into(), 1).is_err_and(|error| error.is_too_large()));
    /// // It is open: it keeps these options.
    /// let log = spool.log("small frames")?;
    /// assert!(log.append(1, "nine byte".into(), 1).is_err_and(|error| error.is_too_large()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Spool::log`].
    pub fn log_with(&self, name: &str, options: LogOptions) -> Result<Log, Error> {
        if name.starts_with(DEAD) {
            return Err(Error::invalid(format!("log {name}: names that begin with {DEAD} are for dead letters")));
        }
        let dir = self.0.dir.join("logs").join(names::encode(name)?);
        self.0.open_log(name, &dir, options, None)
    }

    /// The log of this name if there is one: open in this process, or opened now from its directory, as by
    /// [`Spool::open_retired`].
    ///
    /// ```
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// assert!(spool.existing_log("events").is_err_and(|error| error.is_not_found()));
    /// spool.log("events")?;
    /// assert_eq!(spool.existing_log("events")?.name(), "events");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Not found when there is none; as [`Spool::log`].
    pub fn existing_log(&self, name: &str) -> Result<Log, Error> {
        if let Some(running) = lock(&self.0.logs).get(name) {
            return Ok(running.log.clone());
        }
        if !Reader::with(self.0.env.clone(), &self.0.dir).logs()?.iter().any(|log| log == name) {
            return Err(Error::not_found(format!("log {name} in {}", self.0.dir.display())));
        }
        self.open_one_retired(name)
    }

    /// Every log that is open, by name; dead letters are none.
    ///
    /// ```
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// spool.log("traces")?;
    /// spool.log("events")?;
    /// assert!(spool.logs().iter().map(|log| log.name()).eq(["events", "traces"]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn logs(&self) -> Vec<Log> {
        let logs = lock(&self.0.logs);
        logs.iter().filter(|(key, _)| !key.starts_with(DEAD)).map(|(_, running)| running.log.clone()).collect()
    }

    /// Opens every log of the directory that nobody opened: what they hold counts, and their cursors are orphans. No
    /// part of the directory is guaranteed to them. Answers those that could not be opened, with the reason.
    ///
    /// ```
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// spool.log("events")?;
    /// spool.close()?;
    ///
    /// let spool = Spool::open(dir.path(), Options::default())?;
    /// assert!(spool.logs().is_empty());
    /// assert!(spool.open_retired()?.is_empty(), "every log could be opened");
    /// assert_eq!(spool.logs()[0].name(), "events");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// I/O, when the directory cannot be listed.
    pub fn open_retired(&self) -> Result<Vec<(String, Error)>, Error> {
        let stored = Reader::with(self.0.env.clone(), &self.0.dir).logs()?;
        let mut failed = Vec::new();
        for name in stored {
            let is_open = lock(&self.0.logs).contains_key(&name);
            if !is_open && let Err(error) = self.open_one_retired(&name) {
                failed.push((name, error));
            }
        }
        Ok(failed)
    }

    fn open_one_retired(&self, name: &str) -> Result<Log, Error> {
        let dir = self.0.dir.join("logs").join(names::encode(name)?);
        self.0.open_log(name, &dir, self.0.options.log.clone(), Some(self.0.space.account(None, Some(0))))
    }

    /// Commits what waits, seals every log, writes every cursor, ends the threads and gives the lock back. Later
    /// appends are refused as closed; cursors still read.
    ///
    /// ```
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// log.append_wait(1, "one frame".into(), 1)?;
    /// spool.close()?;
    /// assert!(log.append(1, "too late".into(), 1).is_err_and(|error| error.is_closed()));
    /// // Somebody else may have the directory now, and finds nothing to repair.
    /// let spool = Spool::open(dir.path(), Options::default())?;
    /// assert!(spool.log("events")?.opening().clean);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The first that any log or cursor had; the others are closed all the same.
    pub fn close(&self) -> Result<(), Error> {
        self.0.end(Stop::Close)
    }

    /// Whether nothing is dropped by age for now, because the wall clock was set: it and the boot clock parted by
    /// more than 60 s within the last hour.
    ///
    /// ```
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// assert!(!spool.age_is_paused(), "nobody set the clock since the spool was opened");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn age_is_paused(&self) -> bool {
        lock(&self.0.housekeeper).as_ref().is_some_and(Housekeeper::age_is_paused)
    }

    /// A snapshot of every log, as `spool inspect` shows it, with what only the owner knows: caps, what is in
    /// flight, and what is wrong now.
    ///
    /// ```
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// log.append_wait(1, "three records".into(), 3)?;
    /// // In flight is pending, too.
    /// cursor.next_batch(1 << 20)?;
    /// let seen = &spool.inspect()?.logs[0];
    /// assert_eq!((seen.accepted_items, seen.cursors[0].pending.items), (3, 3));
    /// assert_eq!((seen.max_size, seen.poisoned), (Some(spool.max_size()), Some(false)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// I/O.
    pub fn inspect(&self) -> Result<Inspection, Error> {
        let mut inspection = Reader::with(self.0.env.clone(), &self.0.dir).inspect()?;
        for log in lock(&self.0.logs).values() {
            super::inspect::overlay(&mut inspection, &log.log.0)?;
        }
        Ok(inspection)
    }

    #[cfg(test)]
    pub(crate) fn env(&self) -> Env {
        self.0.env.clone()
    }

    /// Lets each writer do what there is to do now.
    #[cfg(test)]
    pub(crate) fn turn_writers(&self) {
        let logs = lock(&self.0.logs);
        logs.values().filter_map(|running| running.writer.as_ref()).for_each(Worker::turn);
    }

    /// Lets the housekeeper do what is due.
    #[cfg(test)]
    pub(crate) fn turn_housekeeper(&self) {
        let housekeeper = lock(&self.0.housekeeper);
        housekeeper.iter().for_each(Housekeeper::turn);
    }
}

/// Keys of dead-letter logs begin with it; no file name has a slash.
pub(crate) const DEAD: &str = "dead/";

impl Shared {
    pub(crate) fn open_log(
        self: &Arc<Self>,
        key: &str,
        dir: &Path,
        options: LogOptions,
        account: Option<Arc<Account>>,
    ) -> Result<Log, Error> {
        let mut logs = lock(&self.logs);
        if lock(&self.lock).is_none() {
            return Err(Error::closed(key));
        }
        if let Some(running) = logs.get(key) {
            return Ok(running.log.clone());
        }
        let core = Arc::new(self.recover_log(key, dir, options, account)?);
        let writer = Arc::new(Mutex::new(Writer::new(core.clone())));
        let serving = Worker::start(&self.env, &format!("log {key}"), Serving::new(core.clone(), writer.clone()));
        let serving = serving.map_err(|e| Error::io("start the writer of", dir, e))?;
        if let Some(housekeeper) = &*lock(&self.housekeeper) {
            housekeeper.watch(core.clone());
        }
        core.account.set_owner(&core);
        let log = Log(core, writer);
        logs.insert(key.to_owned(), Running { log: log.clone(), writer: Some(serving) });
        Ok(log)
    }

    fn recover_log(
        self: &Arc<Self>,
        key: &str,
        dir: &Path,
        mut options: LogOptions,
        account: Option<Arc<Account>>,
    ) -> Result<LogCore, Error> {
        let env = &self.env;
        options.max_frame = options.max_frame.min(self.space.largest_frame());
        let crc = name_crc(key);
        let recovered = recovery::recover(env, dir, crc)?;
        // Only now, when everything was read, is anything written.
        let (cursors, dead_dir) = (dir.join("cursors"), self.dir.join("dead").join(names::encode(key)?));
        env.make_dirs(&cursors)?;
        // Else the first segment could be durable in a directory that a crash takes away.
        env.sync_dir_and_its_name(dir)?;
        let account = account.unwrap_or_else(|| self.space.account(options.max_size, None));
        let segment_size = self.space.segment_size(&account, &options);
        let spares = Spares::new(dir, &recovered.spares, segment_size);
        spares.sweep(env, dir, &recovered.spares)?;
        let cursor_bytes = super::format::cursor::FILE_LEN * recovered.cursors.len() as u64;
        // Also of dead letters that this run may never open.
        let unfinished = Store::sweep(env, &cursors) + Store::sweep(env, &dead_dir.join("cursors"));
        account.set(recovered.table.bytes() + spares.bytes() + cursor_bytes + unfinished);
        let (me, cap) = (Arc::downgrade(self), account.cap());
        let dead = match key.starts_with(DEAD) {
            true => DeadLetters::none(account.clone()),
            false => DeadLetters::new(me, dead_dir, &self.space, cap, options.dead_letter_max_size),
        };
        let mut core = LogCore {
            name: key.to_owned(),
            crc,
            dir: dir.to_owned(),
            env: env.clone(),
            segment_size,
            queue: Queue::new(key, recovered.opening.totals, env),
            view: Arc::new(View::new(recovered.front)),
            table: Mutex::new(recovered.table),
            cursors: Mutex::new(recovered.cursors.into_iter().map(|c| (c.name.clone(), Arc::new(c))).collect()),
            space: self.space.clone(),
            account,
            spares,
            damaged: self.damaged.clone(),
            opening: recovered.opening,
            bell: self.bell.clone(),
            reclaiming: Mutex::default(),
            trouble: Mutex::default(),
            syncs: Arc::new(Syncs::new(env.clock.clone())),
            opened: env.clock.boot(),
            dead,
            options,
        };
        core.count_lost_acks()?;
        core.set_aside(&recovered.holes)?;
        Ok(core)
    }

    fn end(&self, how: Stop) -> Result<(), Error> {
        // First the housekeeper: it uses the logs.
        // Its lock is free while it ends: who opens a log needs it, and it may wait for that log.
        let housekeeper = lock(&self.housekeeper).take();
        let mut result = housekeeper.map_or(Ok(()), Housekeeper::stop);
        let mut logs = lock(&self.logs);
        for running in logs.values() {
            running.log.0.queue.stop(how);
        }
        for running in logs.values_mut() {
            let Some(writer) = running.writer.take() else { continue };
            let ended = writer.join();
            let flushed = if how == Stop::Close { running.log.0.flush_cursors(true) } else { Ok(()) };
            result = result.and(ended).and(flushed);
        }
        drop(lock(&self.lock).take());
        result
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // As a crash: no sync in a destructor. Threads end, so that the lock is given back after them.
        drop(self.end(Stop::Abandon));
    }
}
