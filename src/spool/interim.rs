//! A first log that works behind the final signatures: one growing file, everything scanned at open.
#![allow(clippy::missing_errors_doc, reason = "replaced by the segmented log")]

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::future::Future;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use event_listener::Event;

use super::error::Kind;
use super::*;

const HEAD: usize = 32;

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    sequence: u64,
    time: u64,
    items: u32,
    content: u8,
    offset: u64,
    len: u32,
}

fn scan(file: &File, mut offset: u64, into: &mut Vec<Entry>) -> std::io::Result<u64> {
    let end = file.metadata()?.len();
    while offset + HEAD as u64 <= end {
        let mut h = [0u8; HEAD];
        file.read_exact_at(&mut h, offset)?;
        let len = u32::from_le_bytes([h[0], h[1], h[2], h[3]]);
        if offset + (HEAD as u64) + u64::from(len) > end {
            break;
        }
        let mut p = vec![0; len as usize];
        file.read_exact_at(&mut p, offset + HEAD as u64)?;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&h[8..]), &p);
        if crc != u32::from_le_bytes([h[4], h[5], h[6], h[7]]) {
            break;
        }
        let mut s = [0; 8];
        s.copy_from_slice(&h[8..16]);
        let mut t = [0; 8];
        t.copy_from_slice(&h[16..24]);
        into.push(Entry {
            sequence: u64::from_le_bytes(s),
            time: u64::from_le_bytes(t),
            items: u32::from_le_bytes([h[24], h[25], h[26], h[27]]),
            content: h[28],
            offset: offset + HEAD as u64,
            len,
        });
        offset += HEAD as u64 + u64::from(len);
    }
    Ok(offset)
}

/// A directory of logs, owned by this process.
#[derive(Debug, Clone)]
pub struct Spool(Arc<SpoolShared>);

#[derive(Debug)]
struct SpoolShared {
    dir: PathBuf,
    options: Options,
    logs: Mutex<HashMap<String, Log>>,
    _lock: File,
}

impl Spool {
    /// Opens or creates; takes the lock for life.
    pub fn open(dir: &Path, options: Options) -> Result<Self, Error> {
        std::fs::create_dir_all(dir.join("logs")).map_err(|e| Error::io("create", dir, e))?;
        let path = dir.join("lock");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| Error::io("open", &path, e))?;
        if file.try_lock().is_err() {
            let pid = std::fs::read_to_string(&path).ok().and_then(|s| s.trim().parse().ok());
            return Err(Kind::Owned { dir: dir.to_owned(), pid }.into());
        }
        file.set_len(0).map_err(|e| Error::io("write", &path, e))?;
        file.write_all_at(std::process::id().to_string().as_bytes(), 0).map_err(|e| Error::io("write", &path, e))?;
        Ok(Self(Arc::new(SpoolShared { dir: dir.to_owned(), options, logs: Mutex::default(), _lock: file })))
    }
    /// The data directory.
    pub fn directory(&self) -> &Path {
        &self.0.dir
    }
    /// The spool's id.
    pub fn id(&self) -> u128 {
        1
    }
    /// The log of this name, opened or created with the spool's log options.
    pub fn log(&self, name: &str) -> Result<Log, Error> {
        self.log_with(name, self.0.options.log.clone())
    }
    /// As `log`, with options of its own.
    pub fn log_with(&self, name: &str, options: LogOptions) -> Result<Log, Error> {
        let mut logs = lock(&self.0.logs);
        if let Some(log) = logs.get(name) {
            return Ok(log.clone());
        }
        let log = Log::open(&self.0.dir, name, options)?;
        logs.insert(name.to_owned(), log.clone());
        Ok(log)
    }
    /// Syncs and seals every log, writes every cursor, ends the writer threads. Later appends are refused.
    pub fn close(&self) -> Result<(), Error> {
        for log in lock(&self.0.logs).values() {
            lock(&log.0.state).closed = true;
            log.0.work.notify_all();
            log.0.grown.notify(usize::MAX);
            if let Some(t) = lock(&log.0.thread).take() {
                t.join().map_err(|_| Error::closed(&log.0.name))?;
            }
        }
        Ok(())
    }
    /// A snapshot of every log, as `inspect` shows it.
    pub fn inspect(&self) -> Result<Inspection, Error> {
        Reader::open(&self.0.dir)?.inspect()
    }
}

/// One log of a spool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log(Arc<LogShared>);

#[derive(Debug)]
struct LogShared {
    name: String,
    dir: PathBuf,
    options: LogOptions,
    file: File,
    state: Mutex<State>,
    work: Condvar,
    durable: Condvar,
    grown: Event,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct State {
    queue: Vec<(u8, Bytes, u32, u64, oneshot::Sender<Result<Appended, Error>>)>,
    waiting: u64,
    entries: Vec<Entry>,
    next: u64,
    end: u64,
    closed: bool,
}

impl Log {
    fn open(dir: &Path, name: &str, options: LogOptions) -> Result<Self, Error> {
        let dir = dir.join("logs").join(name);
        std::fs::create_dir_all(&dir).map_err(|e| Error::io("create", &dir, e))?;
        let path = dir.join("interim");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| Error::io("open", &path, e))?;
        let mut state = State::default();
        state.end = scan(&file, 0, &mut state.entries).map_err(|e| Error::io("read", &path, e))?;
        file.set_len(state.end).map_err(|e| Error::io("cut", &path, e))?;
        state.next = state.entries.last().map_or(1, |e| e.sequence + 1);
        let shared = Arc::new(LogShared {
            name: name.to_owned(),
            dir,
            options,
            file,
            state: Mutex::new(state),
            work: Condvar::new(),
            durable: Condvar::new(),
            grown: Event::new(),
            thread: Mutex::new(None),
        });
        let writer = shared.clone();
        let thread = std::thread::Builder::new()
            .name(format!("log {name}"))
            .spawn(move || writer.write())
            .map_err(|e| Error::io("start the writer of", Path::new(name), e))?;
        *lock(&shared.thread) = Some(thread);
        Ok(Self(shared))
    }
    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }
    /// Hands a frame to the writer; never waits for the disk. `content` is an opaque tag of the caller's.
    pub fn append(&self, content: u8, payload: Bytes, items: u32) -> Result<Ack, Error> {
        let bytes = payload.len() as u64;
        if bytes > self.0.options.max_frame {
            return Err(Kind::TooLarge { log: self.0.name.clone(), bytes, max: self.0.options.max_frame }.into());
        }
        let mut state = lock(&self.0.state);
        if state.closed {
            return Err(Error::closed(&self.0.name));
        }
        if state.waiting > 0 && state.waiting + bytes > 16 << 20 {
            let retry_after = Duration::from_millis(100);
            return Err(Kind::Busy { log: self.0.name.clone(), waiting: state.waiting, retry_after }.into());
        }
        let (done, ack) = oneshot::async_channel();
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        state.waiting += bytes;
        state.queue.push((content, payload, items, time, done));
        self.0.work.notify_one();
        Ok(Ack(ack))
    }
    /// Highest durable sequence; 0 when there is none.
    pub fn durable_sequence(&self) -> u64 {
        lock(&self.0.state).entries.last().map_or(0, |e| e.sequence)
    }
    /// Opens the durable cursor of this name. One handle per name at a time.
    pub fn cursor(&self, name: &str, start: Start, need: Need) -> Result<Cursor, Error> {
        let path = self.0.dir.join("cursors");
        std::fs::create_dir_all(&path).map_err(|e| Error::io("create", &path, e))?;
        let path = path.join(name);
        let state = lock(&self.0.state);
        let stored = std::fs::read_to_string(&path).ok().and_then(|s| s.trim().parse().ok());
        let position = stored.unwrap_or(match start {
            Start::Oldest => state.entries.first().map_or(state.next, |e| e.sequence),
            Start::Newest => state.next,
        });
        let _ = need;
        Ok(Cursor { log: self.0.clone(), name: name.to_owned(), path, position, read: position, acked: Vec::new() })
    }
}

impl LogShared {
    fn write(&self) {
        loop {
            let (group, mut offset, mut sequence) = {
                let mut state = lock(&self.state);
                while state.queue.is_empty() && !state.closed {
                    state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if state.queue.is_empty() {
                    return;
                }
                (std::mem::take(&mut state.queue), state.end, state.next)
            };
            let start = offset;
            let mut buffer = Vec::new();
            let mut entries = Vec::new();
            let mut acks = Vec::new();
            for (content, payload, items, time, ack) in group {
                let mut h = [0u8; HEAD];
                let len = payload.len() as u32;
                h[0..4].copy_from_slice(&len.to_le_bytes());
                h[8..16].copy_from_slice(&sequence.to_le_bytes());
                h[16..24].copy_from_slice(&time.to_le_bytes());
                h[24..28].copy_from_slice(&items.to_le_bytes());
                h[28] = content;
                let crc = crc32c::crc32c_append(crc32c::crc32c(&h[8..]), &payload);
                h[4..8].copy_from_slice(&crc.to_le_bytes());
                buffer.extend_from_slice(&h);
                buffer.extend_from_slice(&payload);
                entries.push(Entry { sequence, time, items, content, offset: offset + HEAD as u64, len });
                acks.push((sequence, ack));
                offset += HEAD as u64 + u64::from(len);
                sequence += 1;
            }
            let result = self.file.write_all_at(&buffer, start).and_then(|()| self.file.sync_data());
            let mut state = lock(&self.state);
            state.waiting -= entries.iter().map(|e| u64::from(e.len)).sum::<u64>();
            let result = result.map_err(|e| Error::io("write", &self.dir, e));
            if result.is_ok() {
                state.entries.extend(entries);
                state.end = offset;
                state.next = sequence;
            }
            drop(state);
            for (sequence, ack) in acks {
                let gone = ack.send(result.clone().map(|()| Appended { sequence })).is_err();
                std::hint::black_box(gone);
            }
            self.durable.notify_all();
            self.grown.notify(usize::MAX);
        }
    }
}

/// An append on its way to the disk: wait for it or await it.
#[must_use = "only a waited-for append is durable"]
#[derive(Debug)]
pub struct Ack(oneshot::AsyncReceiver<Result<Appended, Error>>);

impl Ack {
    /// Blocks until the frame is as durable as the log promises.
    pub fn wait(self) -> Result<Appended, Error> {
        struct Unpark(std::thread::Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Arc::new(Unpark(std::thread::current())).into();
        let mut this = self;
        loop {
            match Pin::new(&mut this).poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(r) => return r,
                Poll::Pending => std::thread::park(),
            }
        }
    }
}
impl Future for Ack {
    type Output = Result<Appended, Error>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|r| r.unwrap_or_else(|_| Err(Error::closed("log"))))
    }
}

/// A durable reader of one log. Moves forward in memory with `next_batch`, durably with `ack`.
#[derive(Debug)]
pub struct Cursor {
    log: Arc<LogShared>,
    name: String,
    path: PathBuf,
    position: u64,
    read: u64,
    acked: Vec<(u64, u64)>,
}

impl Cursor {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The next durable frames after the read position, up to `max_bytes` of payload (at least one frame); None when
    /// there is nothing more now. Blocks on the disk, never on the writer. Damaged frames are skipped, counted, told.
    pub fn next_batch(&mut self, max_bytes: usize) -> Result<Option<Batch>, Error> {
        let picked: Vec<Entry> = {
            let state = lock(&self.log.state);
            let from = state.entries.partition_point(|e| e.sequence < self.read);
            let mut bytes = 0;
            state.entries[from..]
                .iter()
                .filter(|e| !self.acked.iter().any(|(a, b)| (*a..=*b).contains(&e.sequence)))
                .take_while(|e| {
                    let first = bytes == 0;
                    bytes += (e.len as usize).max(1);
                    first || bytes <= max_bytes
                })
                .copied()
                .collect()
        };
        let Some(last) = picked.last() else { return Ok(None) };
        self.read = last.sequence + 1;
        let mut frames = Vec::new();
        for e in picked {
            frames.push(read_frame(&self.log.file, &e).map_err(|x| Error::io("read", &self.log.dir, x))?);
        }
        Ok(Some(Batch { frames }))
    }
    /// Completes when a frame beyond the read position is durable, or the log is closed.
    pub fn readable(&self) -> impl Future<Output = ()> + Send + 'static {
        let log = self.log.clone();
        let read = self.read;
        async move {
            loop {
                let listener = log.grown.listen();
                {
                    let state = lock(&log.state);
                    if state.closed || state.next > read {
                        return;
                    }
                }
                listener.await;
            }
        }
    }
    /// As `readable`, blocking; false on time-out.
    pub fn wait_readable(&self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let mut state = lock(&self.log.state);
        while !state.closed && state.next <= self.read {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.log.durable.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
    /// Marks the frames from `first` to `last` as done: all their items delivered but `parked` of them.
    /// Any order; durable within 100 ms.
    pub fn ack(&mut self, first: u64, last: u64, parked: u64) -> Result<(), Error> {
        let _ = parked;
        self.acked.push((first, last));
        self.acked.sort_unstable();
        while let Some((a, b)) = self.acked.first().copied() {
            if a > self.position {
                break;
            }
            self.position = self.position.max(b + 1);
            self.acked.remove(0);
        }
        self.flush()
    }
    /// Writes a dead letter and returns when it is durable; the frame still has to be acked.
    pub fn park(&self, letter: DeadLetter) -> Result<(), Error> {
        use std::io::Write;
        let path = self.log.dir.join("dead");
        let line = format!("{}:{}:{} {}\n", letter.sequence, letter.first_item, letter.items, letter.reason);
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut f| f.write_all(line.as_bytes()))
            .map_err(|e| Error::io("write", &path, e))
    }
    /// Back to the oldest frame that is not acked.
    pub fn rewind(&mut self) {
        self.read = self.position;
    }
    /// Durably writes position and counters now.
    pub fn flush(&mut self) -> Result<(), Error> {
        std::fs::write(&self.path, self.position.to_string()).map_err(|e| Error::io("write", &self.path, e))
    }
    /// What it still has to deliver.
    pub fn pending(&self) -> Pending {
        let state = lock(&self.log.state);
        let mut pending = Pending::default();
        for e in state
            .entries
            .iter()
            .filter(|e| e.sequence >= self.position && !self.acked.iter().any(|(a, b)| (*a..=*b).contains(&e.sequence)))
        {
            pending.items += u64::from(e.items);
            pending.bytes += u64::from(e.len);
            pending.oldest_age.get_or_insert(Duration::ZERO);
        }
        pending
    }
}

fn read_frame(file: &File, e: &Entry) -> std::io::Result<Frame> {
    let mut payload = vec![0; e.len as usize];
    file.read_exact_at(&mut payload, e.offset)?;
    Ok(Frame {
        sequence: e.sequence,
        epoch: 1,
        time_unix_nanos: e.time,
        items: e.items,
        content: e.content,
        payload: payload.into(),
    })
}

/// Reads a spool beside its owner or without one; never repairs.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
}

impl Reader {
    /// Opens a data directory for reading.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        if !dir.join("lock").exists() {
            return Err(Error::not_found(format!("data directory {}", dir.display())));
        }
        Ok(Self { dir: dir.to_owned() })
    }
    /// The names of its logs.
    pub fn logs(&self) -> Result<Vec<String>, Error> {
        let path = self.dir.join("logs");
        let mut names = Vec::new();
        for e in std::fs::read_dir(&path).map_err(|e| Error::io("read", &path, e))? {
            let e = e.map_err(|e| Error::io("read", &path, e))?;
            names.push(e.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }
    /// A snapshot of every log.
    pub fn inspect(&self) -> Result<Inspection, Error> {
        let path = self.dir.join("lock");
        let pid = std::fs::read_to_string(&path).ok().and_then(|s| s.trim().parse().ok());
        let alive = File::open(&path).is_ok_and(|f| f.try_lock_shared().is_err());
        let mut logs = Vec::new();
        for name in self.logs()? {
            let reader = self.read(&name, From::Oldest)?;
            let (entries, dir) = (reader.entries, self.dir.join("logs").join(&name).join("cursors"));
            let items = entries.iter().map(|e| u64::from(e.items)).sum();
            let mut cursors = Vec::new();
            for c in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                let sequence =
                    std::fs::read_to_string(c.path()).ok().and_then(|s| s.trim().parse().ok()).unwrap_or_default();
                let pending: u64 = entries.iter().filter(|e| e.sequence >= sequence).map(|e| u64::from(e.items)).sum();
                cursors.push(CursorInspection {
                    name: c.file_name().to_string_lossy().into_owned(),
                    required: true,
                    sequence,
                    pending: Pending { items: pending, ..Pending::default() },
                    delivered_items: items - pending,
                    parked_items: 0,
                    dropped_items: Vec::new(),
                    skipped_items: 0,
                    accepted_items: items,
                });
            }
            logs.push(LogInspection {
                name,
                content: entries.last().map(|e| e.content),
                first_sequence: entries.first().map_or(0, |e| e.sequence),
                last_sequence: entries.last().map_or(0, |e| e.sequence),
                items,
                bytes: reader.end,
                max_size: 0,
                durability: Durability::Sync,
                poisoned: false,
                damaged_bytes: 0,
                segments: vec![SegmentInspection {
                    id: 1,
                    state: "open",
                    first_sequence: entries.first().map_or(0, |e| e.sequence),
                    last_sequence: entries.last().map_or(0, |e| e.sequence),
                    bytes: reader.end,
                }],
                cursors,
                accepted_items: items,
            });
        }
        let owner = pid.map(|pid| Owner { pid, alive });
        Ok(Inspection { directory: self.dir.clone(), spool_id: 1, owner, logs })
    }
    /// Checks every checksum; `progress(done, total)` in bytes.
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Verification, Error> {
        let mut logs = Vec::new();
        for name in self.logs()? {
            let r = self.read(&name, From::Oldest)?;
            progress(r.end, r.end);
            let frames = r.entries.len() as u64;
            logs.push(LogVerification { name, frames, bytes: r.end, damage: Vec::new(), ledger_closes: true });
        }
        Ok(Verification { logs })
    }
    /// Reads one log.
    pub fn read(&self, log: &str, from: From) -> Result<LogReader, Error> {
        let path = self.dir.join("logs").join(log).join("interim");
        let file = File::open(&path).map_err(|e| Error::io("open", &path, e))?;
        let mut entries = Vec::new();
        let end = scan(&file, 0, &mut entries).map_err(|e| Error::io("read", &path, e))?;
        let next = match from {
            From::Oldest => 0,
            From::Sequence(s) => entries.partition_point(|e| e.sequence < s),
            From::TimeUnixNanos(t) => entries.iter().position(|e| e.time >= t).unwrap_or(entries.len()),
            From::LastItems(n) => {
                let mut left = n;
                let mut at = entries.len();
                while at > 0 && left > 0 {
                    at -= 1;
                    left = left.saturating_sub(u64::from(entries[at].items));
                }
                at
            }
            From::End => entries.len(),
        };
        Ok(LogReader { file, path, entries, end, next })
    }
}

/// Follows one log: `next` is None at the present end and may give more later.
#[derive(Debug)]
pub struct LogReader {
    file: File,
    path: PathBuf,
    entries: Vec<Entry>,
    end: u64,
    next: usize,
}

impl LogReader {
    /// The next frame, or `None` at the present end.
    #[allow(clippy::should_implement_trait, reason = "it may give more after None")]
    pub fn next(&mut self) -> Result<Option<Frame>, Error> {
        if self.next == self.entries.len() {
            self.end = scan(&self.file, self.end, &mut self.entries).map_err(|e| Error::io("read", &self.path, e))?;
        }
        let Some(e) = self.entries.get(self.next) else { return Ok(None) };
        self.next += 1;
        read_frame(&self.file, e).map(Some).map_err(|e| Error::io("read", &self.path, e))
    }
}
