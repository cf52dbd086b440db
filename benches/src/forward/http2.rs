//! As much of HTTP/2 (RFC 9113) as gRPC calls over one connection need, on one thread: a general client would take as
//! much of the processors as what is measured.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use loona_hpack::Decoder;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Section 4.1.
const FRAME_HEAD: usize = 9;
/// Section 6.9.2.
const FIRST_WINDOW: i64 = 65_535;
/// How much may come before the peer is told that more may come.
const GIVE_BACK: u32 = 1 << 20;
/// Frames of one write.
const GATHERED: usize = 256;

mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    pub(super) const CONTINUATION: u8 = 9;
}

mod flag {
    pub(super) const ACK: u8 = 1;
    pub(super) const END_STREAM: u8 = 1;
    pub(super) const END_HEADERS: u8 = 4;
    pub(super) const PADDED: u8 = 8;
    pub(super) const PRIORITY: u8 = 32;
}

/// A connection, with the calls that are under way on it.
pub(super) struct Connection {
    socket: TcpStream,
    input: Vec<u8>,
    output: VecDeque<Bytes>,
    decoder: Decoder<'static>,
    head: Bytes,
    next_stream: u32,
    calls: BTreeMap<u32, Call>,
    window: i64,
    stream_window: i64,
    max_frame: usize,
    /// Came, and was not given back yet.
    taken: u32,
}

/// A call whose answer is awaited.
struct Call {
    /// What is still to be sent.
    message: Bytes,
    window: i64,
    status: Option<u32>,
}

/// A call that ended.
pub(super) struct Ended {
    pub(super) stream: u32,
    /// Its `grpc-status`.
    pub(super) status: u32,
}

type Failure = Box<dyn Error>;

impl Connection {
    /// Connects, and waits for the peer's settings.
    pub(super) fn open(address: SocketAddr, path: &str) -> Result<Self, Failure> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut connection = Self {
            socket,
            input: Vec::new(),
            output: VecDeque::new(),
            decoder: Decoder::new(),
            head: head(&address.to_string(), path),
            next_stream: 1,
            calls: BTreeMap::new(),
            window: FIRST_WINDOW,
            stream_window: FIRST_WINDOW,
            max_frame: 0,
            taken: 0,
        };
        connection.output.push_back(Bytes::from_static(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
        connection.frame(kind::SETTINGS, 0, 0, Bytes::new());
        connection.frame(kind::WINDOW_UPDATE, 0, 0, number(GIVE_BACK));
        while connection.max_frame == 0 {
            connection.go_on(Duration::from_secs(10), &mut Vec::new())?;
        }
        Ok(connection)
    }

    /// Begins a call with one message, as [`framed`] makes it; answers its stream.
    pub(super) fn call(&mut self, message: &Bytes) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        self.frame(kind::HEADERS, flag::END_HEADERS, stream, self.head.clone());
        self.calls.insert(stream, Call { message: message.clone(), window: self.stream_window, status: None });
        self.send(stream);
        stream
    }

    /// Sends of a call's message what the windows allow.
    fn send(&mut self, stream: u32) {
        let Some(call) = self.calls.get_mut(&stream) else { return };
        while !call.message.is_empty() && self.window > 0 && call.window > 0 {
            let most = self.window.min(call.window).min(self.max_frame as i64) as usize;
            let piece = call.message.split_to(most.min(call.message.len()));
            let flags = if call.message.is_empty() { flag::END_STREAM } else { 0 };
            (self.window, call.window) = (self.window - piece.len() as i64, call.window - piece.len() as i64);
            self.output.push_back(frame_head(kind::DATA, flags, stream, piece.len()));
            self.output.push_back(piece);
        }
    }

    /// Writes what is to be written, and waits so long at most for what comes: calls that end are added to `ended`.
    pub(super) fn go_on(&mut self, wait: Duration, ended: &mut Vec<Ended>) -> Result<(), Failure> {
        let writing = if self.output.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        let mut polled = [PollFd::new(&self.socket, PollFlags::IN | writing)];
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        poll(&mut polled, Some(&wait))?;
        let ready = polled[0].revents();
        if ready.intersects(PollFlags::OUT) {
            self.write()?;
        }
        if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            self.read(ended)?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), Failure> {
        while !self.output.is_empty() {
            let slices: Vec<IoSlice<'_>> = self.output.iter().take(GATHERED).map(|part| IoSlice::new(part)).collect();
            let mut written = match self.socket.write_vectored(&slices) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                written => written?,
            };
            while let Some(part) = self.output.front_mut().filter(|_| written > 0) {
                let done = written.min(part.len());
                drop(part.split_to(done));
                written -= done;
                if part.is_empty() {
                    self.output.pop_front();
                }
            }
        }
        Ok(())
    }

    fn read(&mut self, ended: &mut Vec<Ended>) -> Result<(), Failure> {
        let mut piece = [0; 64 << 10];
        match self.socket.read(&mut piece) {
            Ok(0) => return Err("the connection was closed".into()),
            Ok(n) => self.input.extend_from_slice(&piece[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let input = std::mem::take(&mut self.input);
        let mut rest = &input[..];
        while let Some((head, body)) = rest.split_at_checked(FRAME_HEAD) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some((payload, after)) = body.split_at_checked(length) else { break };
            let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
            self.take(head[3], head[4], stream, payload, ended)?;
            rest = after;
        }
        self.input = rest.to_vec();
        Ok(())
    }

    fn take(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
        ended: &mut Vec<Ended>,
    ) -> Result<(), Failure> {
        match kind {
            kind::DATA => {
                self.taken += payload.len() as u32;
                if self.taken >= GIVE_BACK / 2 {
                    self.frame(kind::WINDOW_UPDATE, 0, 0, number(self.taken));
                    self.taken = 0;
                }
            }
            kind::HEADERS if flags & (flag::END_HEADERS | flag::PADDED | flag::PRIORITY) == flag::END_HEADERS => {
                let fields = self.decoder.decode(payload).map_err(|e| format!("{e:?}"))?;
                let status = fields.iter().find(|(name, _)| name == b"grpc-status");
                if let (Some((_, value)), Some(call)) = (status, self.calls.get_mut(&stream)) {
                    call.status = Some(std::str::from_utf8(value)?.parse()?);
                }
            }
            kind::HEADERS | kind::CONTINUATION => return Err("headers in a form that is not read here".into()),
            // As if it had not begun: section 8.7.
            kind::RST_STREAM if payload == [0, 0, 0, 7] => self.end(stream, Some(14), ended)?,
            kind::RST_STREAM => return Err(format!("a call was reset: {payload:?}").into()),
            kind::SETTINGS if flags & flag::ACK == 0 => self.settle(payload),
            kind::PING if flags & flag::ACK == 0 => {
                self.frame(kind::PING, flag::ACK, 0, Bytes::copy_from_slice(payload));
            }
            kind::GOAWAY => return Err(format!("the peer leaves: {}", String::from_utf8_lossy(payload)).into()),
            kind::WINDOW_UPDATE => self.widen(stream, payload),
            _ => {}
        }
        if matches!(kind, kind::DATA | kind::HEADERS) && flags & flag::END_STREAM != 0 {
            self.end(stream, None, ended)?;
        }
        Ok(())
    }

    fn end(&mut self, stream: u32, status: Option<u32>, ended: &mut Vec<Ended>) -> Result<(), Failure> {
        let Some(call) = self.calls.remove(&stream) else { return Ok(()) };
        let status = status.or(call.status).ok_or("an answer without a status")?;
        ended.push(Ended { stream, status });
        Ok(())
    }

    /// Section 6.5.2.
    fn settle(&mut self, payload: &[u8]) {
        self.max_frame = self.max_frame.max(16 << 10);
        for setting in payload.chunks_exact(6) {
            let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
            match u16::from_be_bytes([setting[0], setting[1]]) {
                4 => {
                    let more = i64::from(value) - self.stream_window;
                    self.stream_window = i64::from(value);
                    self.calls.values_mut().for_each(|call| call.window += more);
                }
                5 => self.max_frame = value as usize,
                _ => {}
            }
        }
        self.frame(kind::SETTINGS, flag::ACK, 0, Bytes::new());
        self.send_all();
    }

    fn widen(&mut self, stream: u32, payload: &[u8]) {
        let more = payload.first_chunk().map_or(0, |bytes| i64::from(u32::from_be_bytes(*bytes)));
        if stream == 0 {
            self.window += more;
            self.send_all();
        } else if let Some(call) = self.calls.get_mut(&stream) {
            call.window += more;
            self.send(stream);
        }
    }

    fn send_all(&mut self) {
        let waiting: Vec<u32> =
            self.calls.iter().filter(|(_, call)| !call.message.is_empty()).map(|(s, _)| *s).collect();
        waiting.into_iter().for_each(|stream| self.send(stream));
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: Bytes) {
        self.output.push_back(frame_head(kind, flags, stream, payload.len()));
        if !payload.is_empty() {
            self.output.push_back(payload);
        }
    }
}

/// A message as gRPC frames it: not compressed.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(message);
    framed.freeze()
}

fn frame_head(kind: u8, flags: u8, stream: u32, length: usize) -> Bytes {
    let mut head = BytesMut::with_capacity(FRAME_HEAD);
    head.put_uint(length as u64, 3);
    head.put_u8(kind);
    head.put_u8(flags);
    head.put_u32(stream);
    head.freeze()
}

fn number(n: u32) -> Bytes {
    Bytes::copy_from_slice(&n.to_be_bytes())
}

/// The headers of each call, as literals (RFC 7541, section 6.2.2) where the static table has them not whole.
fn head(authority: &str, path: &str) -> Bytes {
    let mut head = BytesMut::new();
    // `:method: POST`, `:scheme: http`.
    head.put_slice(&[0x83, 0x86]);
    let mut literal = |name: &[u8], value: &str| {
        head.put_slice(name);
        // Shorter than 127.
        head.put_u8(value.len() as u8);
        head.put_slice(value.as_bytes());
    };
    literal(&[0x04], path);
    literal(&[0x01], authority);
    // `content-type` is 31 in the table.
    literal(&[0x0f, 0x10], "application/grpc");
    literal(b"\x00\x02te", "trailers");
    head.freeze()
}
