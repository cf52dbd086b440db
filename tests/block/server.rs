//! The device: a FUSE file system of three files, in a process of its own.
//!
//! `disk` is the bytes below the loop device. `mark` takes what the workload says. `command` takes faults:
//!
//! ```text
//! fail write 3 EIO TGBLOCK!      the next three writes that contain these bytes
//! fail write - ENOSPC -          every write from now on
//! fail flush 1 EIO -             the next flush
//! heal                           nothing fails from now on
//! ```
//!
//! Why a process of its own: a thread that waits for the device must never be one that the device waits for.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use crate::trace::{Event, Tape};

const DISK: INodeNo = INodeNo(2);
const MARK: INodeNo = INodeNo(3);
const COMMAND: INodeNo = INodeNo(4);
/// Names and sizes never change behind the kernel's back.
const TTL: Duration = Duration::from_secs(3600);

struct Device(Mutex<State>);

struct State {
    disk: Vec<u8>,
    tape: Tape,
    faults: Vec<Fault>,
}

struct Fault {
    operation: &'static str,
    left: Option<u64>,
    errno: Errno,
    /// Only what contains these bytes; empty: everything.
    needle: Vec<u8>,
}

/// Serves `disk`, with the bytes of the file `base`, at `mountpoint` until standard input ends: then the test is gone,
/// by whatever end.
pub(crate) fn serve(mountpoint: &Path, base: &Path, tape: &Path) {
    let state = State { disk: std::fs::read(base).unwrap(), tape: Tape::create(tape).unwrap(), faults: Vec::new() };
    let session = fuser::spawn_mount(Device(Mutex::new(state)), mountpoint, &fuser::Config::default()).unwrap();
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).unwrap();
    drop(session);
}

impl Device {
    fn attributes(&self, node: INodeNo) -> Option<FileAttr> {
        let (kind, perm, size) = match node {
            INodeNo::ROOT => (FileType::Directory, 0o700, 0),
            DISK => (FileType::RegularFile, 0o600, self.0.lock().unwrap().disk.len() as u64),
            MARK | COMMAND => (FileType::RegularFile, 0o600, 0),
            _ => return None,
        };
        Some(FileAttr {
            ino: node,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

impl State {
    fn fault(&mut self, operation: &str, bytes: &[u8]) -> Result<(), Errno> {
        let matches = |fault: &&mut Fault| {
            fault.operation == operation
                && fault.left != Some(0)
                && (fault.needle.is_empty() || bytes.windows(fault.needle.len()).any(|part| part == fault.needle))
        };
        let Some(fault) = self.faults.iter_mut().find(matches) else { return Ok(()) };
        fault.left = fault.left.map(|left| left - 1);
        let errno = fault.errno;
        self.tape.add(Event::Refused).unwrap();
        Err(errno)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.fault("write", bytes)?;
        let at = usize::try_from(offset).map_err(|_| Errno::EFBIG)?;
        let target = self.disk.get_mut(at..at + bytes.len()).ok_or(Errno::ENOSPC)?;
        target.copy_from_slice(bytes);
        self.tape.add(Event::Write { offset, bytes }).unwrap();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Errno> {
        self.fault("flush", &[])?;
        self.tape.add(Event::Flush).unwrap();
        Ok(())
    }

    fn command(&mut self, text: &str) -> Result<(), Errno> {
        match text.split_ascii_whitespace().collect::<Vec<_>>()[..] {
            ["heal"] => self.faults.clear(),
            ["fail", operation, times, errno, needle] => {
                let operation = if operation == "flush" { "flush" } else { "write" };
                let left = if times == "-" { None } else { Some(times.parse().map_err(|_| Errno::EINVAL)?) };
                let errno = if errno == "ENOSPC" { Errno::ENOSPC } else { Errno::EIO };
                let needle = if needle == "-" { Vec::new() } else { unescape(needle) };
                self.faults.push(Fault { operation, left, errno, needle });
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }
}

/// Text as it is, or bytes in hexadecimal after `0x`.
fn unescape(needle: &str) -> Vec<u8> {
    match needle.strip_prefix("0x") {
        Some(hex) => (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect(),
        None => needle.as_bytes().to_vec(),
    }
}

impl Filesystem for Device {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let node = match name.to_str() {
            Some("disk") => DISK,
            Some("mark") => MARK,
            Some("command") => COMMAND,
            _ => return reply.error(Errno::ENOENT),
        };
        match self.attributes(node) {
            Some(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(node) {
            Some(attributes) => reply.attr(&TTL, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    /// Answered, and without effect: times are set now and then, and nothing hangs on them.
    fn setattr(
        &self,
        request: &Request,
        node: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        _size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<std::time::SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<std::time::SystemTime>,
        _chgtime: Option<std::time::SystemTime>,
        _bkuptime: Option<std::time::SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.getattr(request, node, handle, reply);
    }

    fn open(&self, _: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Each mark and each command is one request, answered before the writer goes on.
        let flags = if node == DISK { FopenFlags::empty() } else { FopenFlags::FOPEN_DIRECT_IO };
        reply.opened(FileHandle(0), flags);
    }

    fn read(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let state = self.0.lock().unwrap();
        let bytes = if node == DISK { &state.disk[..] } else { &[] };
        let from = usize::try_from(offset).unwrap().min(bytes.len());
        reply.data(&bytes[from..(from + size as usize).min(bytes.len())]);
    }

    fn write(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = self.0.lock().unwrap();
        let text = || std::str::from_utf8(bytes).map_err(|_| Errno::EINVAL);
        let result = match node {
            DISK => state.write(offset, bytes),
            MARK => text().map(|text| state.tape.add(Event::Mark(text)).unwrap()),
            _ => text().and_then(|text| state.command(text)),
        };
        match result {
            Ok(()) => reply.written(bytes.len() as u32),
            Err(errno) => reply.error(errno),
        }
    }

    /// The loop device turns a flush, and a write with FUA, into this.
    fn fsync(&self, _: &Request, node: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let result = if node == DISK { self.0.lock().unwrap().flush() } else { Ok(()) };
        match result {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    /// Closing flushes nothing.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    /// A discard must not change bytes behind the tape.
    fn fallocate(&self, _: &Request, _: INodeNo, _: FileHandle, _: u64, _: u64, _: i32, reply: ReplyEmpty) {
        reply.error(Errno::EOPNOTSUPP);
    }
}
