//! The disk as a network block device on a Unix socket: what the emulator takes for its drive.
//!
//! The part of the protocol that one client with one export needs. Requests are answered in order, one at a time.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{BLOCK, Disk, NoPower};

const GREETING: u64 = 0x4e42_444d_4147_4943;
const OPTION: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;

const FIXED_NEWSTYLE: u16 = 1;
const NO_ZEROES: u16 = 2;
const OPT_INFO: u32 = 6;
const OPT_GO: u32 = 7;
const REP_ACK: u32 = 1;
const REP_INFO: u32 = 3;
const REP_UNSUPPORTED: u32 = 0x8000_0001;
const INFO_EXPORT: u16 = 0;
const INFO_BLOCK_SIZE: u16 = 3;
/// Has flags; sends FLUSH; sends FUA.
const EXPORT_FLAGS: u16 = 1 | 4 | 8;
const COMMAND_FUA: u16 = 1;
const OPTION_BYTES_MAX: u32 = 64 << 10;
/// The largest request that the server announces.
const REQUEST_BYTES_MAX: u32 = 32 << 20;

/// The server; it lives as long as its disk is in use.
pub(crate) struct Server {
    pub(crate) socket: PathBuf,
}

impl Server {
    /// Serves the disk at this path, one client after the other.
    pub(crate) fn start(disk: &Arc<Disk>, socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let disk = Arc::clone(disk);
        // The thread ends with the test program: an accept cannot be waited for with a condition.
        std::thread::spawn(move || {
            for client in listener.incoming() {
                // An emulator that is killed ends its connection anywhere: that is the cut itself.
                drop(serve(&disk, client.unwrap()));
            }
        });
        Self { socket: socket.to_owned() }
    }
}

fn serve(disk: &Disk, client: UnixStream) -> io::Result<()> {
    let mut reader = io::BufReader::with_capacity(1 << 20, client.try_clone()?);
    let mut writer = client;
    if !negotiate(disk, &mut reader, &mut writer)? {
        return Ok(());
    }
    while let Some(reply) = next_reply(disk, &mut reader)? {
        writer.write_all(&reply)?;
    }
    Ok(())
}

/// Greets and settles the options; true when the transmission begins.
fn negotiate(disk: &Disk, reader: &mut impl Read, writer: &mut impl Write) -> io::Result<bool> {
    writer.write_all(&[&GREETING.to_be_bytes()[..], &OPTION.to_be_bytes()].concat())?;
    writer.write_all(&(FIXED_NEWSTYLE | NO_ZEROES).to_be_bytes())?;
    let _flags = u32::from_be_bytes(take(reader)?);
    loop {
        if u64::from_be_bytes(take(reader)?) != OPTION {
            return Err(io::Error::other("not an option"));
        }
        let option = u32::from_be_bytes(take(reader)?);
        let length = u32::from_be_bytes(take(reader)?);
        if length > OPTION_BYTES_MAX {
            return Err(io::Error::other("an option too long"));
        }
        io::copy(&mut reader.take(u64::from(length)), &mut io::sink())?;
        if !matches!(option, OPT_INFO | OPT_GO) {
            writer.write_all(&option_reply(option, REP_UNSUPPORTED, &[]))?;
            continue;
        }
        for information in [export(disk), block_sizes()] {
            writer.write_all(&option_reply(option, REP_INFO, &information))?;
        }
        writer.write_all(&option_reply(option, REP_ACK, &[]))?;
        if option == OPT_GO {
            return Ok(true);
        }
    }
}

fn export(disk: &Disk) -> Vec<u8> {
    [&INFO_EXPORT.to_be_bytes()[..], &(disk.size() as u64).to_be_bytes(), &EXPORT_FLAGS.to_be_bytes()].concat()
}

fn block_sizes() -> Vec<u8> {
    let block = u32::try_from(BLOCK).unwrap().to_be_bytes();
    [&INFO_BLOCK_SIZE.to_be_bytes()[..], &block, &block, &REQUEST_BYTES_MAX.to_be_bytes()].concat()
}

fn option_reply(option: u32, kind: u32, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    let words = [option, kind, length].map(u32::to_be_bytes).concat();
    [&OPTION_REPLY.to_be_bytes()[..], &words, data].concat()
}

/// Does one request; `None` when the client leaves or the power is off.
fn next_reply(disk: &Disk, reader: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    if u32::from_be_bytes(take(reader)?) != REQUEST {
        return Err(io::Error::other("not a request"));
    }
    let flags = u16::from_be_bytes(take(reader)?);
    let command = u16::from_be_bytes(take(reader)?);
    let handle: [u8; 8] = take(reader)?;
    let offset = usize::try_from(u64::from_be_bytes(take(reader)?)).map_err(io::Error::other)?;
    let length = u32::from_be_bytes(take(reader)?);
    if length > REQUEST_BYTES_MAX || offset.saturating_add(length as usize) > disk.size() {
        return Err(io::Error::other("outside the disk"));
    }
    let length = length as usize;
    let done = match command {
        0 => disk.read(offset, length),
        1 => {
            let mut bytes = vec![0; length];
            reader.read_exact(&mut bytes)?;
            disk.write(offset, bytes, flags & COMMAND_FUA != 0).map(|()| Vec::new())
        }
        2 => return Ok(None),
        3 => disk.flush().map(|()| Vec::new()),
        other => return Err(io::Error::other(format!("command {other} was not offered"))),
    };
    match done {
        Ok(data) => Ok(Some([&REPLY.to_be_bytes()[..], &[0; 4], &handle, &data].concat())),
        Err(NoPower) => {
            // A dead disk does not answer, not even with an error: the guest must not learn of the cut.
            io::copy(reader, &mut io::sink())?;
            Ok(None)
        }
    }
}

fn take<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}
