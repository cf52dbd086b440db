//! Servers that mean harm to who exports to them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long one connection is misused.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a server does with a connection.
#[derive(Debug, Clone)]
pub(crate) enum Harm {
    /// Accepts, reads, and never says anything.
    Hang,
    /// Closes at once.
    Close,
    /// Closes with a reset, so that what is under way is lost.
    Reset,
    /// Reads the request, then says this and closes.
    Say(Vec<u8>),
    /// Says this without end.
    Endless { first: Vec<u8>, then: Vec<u8> },
    /// Says this one byte at a time, slowly.
    Drip(Vec<u8>),
}

/// A server that harms everyone who connects, until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicU64>,
    is_over: Arc<std::sync::atomic::AtomicBool>,
}

impl Server {
    pub(crate) fn start(harm: &Harm) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicU64::new(0));
        let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (harm, count, over) = (harm.clone(), Arc::clone(&connections), Arc::clone(&is_over));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                count.fetch_add(1, Ordering::Relaxed);
                let harm = harm.clone();
                // A client that goes ends it.
                std::thread::spawn(move || drop(serve(stream, &harm)));
            }
        });
        Self { address, connections, is_over }
    }

    /// How often somebody connected.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Leaves its port to another.
    pub(crate) fn end(self) -> SocketAddr {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes the one that accepts.
        drop(TcpStream::connect(self.address));
        self.address
    }
}

fn serve(mut stream: TcpStream, harm: &Harm) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    match harm {
        Harm::Hang => {
            while stream.read(&mut [0; 16 << 10])? > 0 {}
            Ok(())
        }
        Harm::Close => Ok(()),
        Harm::Reset => {
            // Unread bytes at the close make it a reset.
            stream.peek(&mut [0; 1]).map(drop)
        }
        Harm::Say(bytes) => {
            hear(&mut stream)?;
            stream.write_all(bytes)?;
            stream.shutdown(std::net::Shutdown::Write)?;
            while stream.read(&mut [0; 16 << 10])? > 0 {}
            Ok(())
        }
        Harm::Endless { first, then } => {
            hear(&mut stream)?;
            stream.write_all(first)?;
            let until = std::time::Instant::now() + PATIENCE;
            let many = then.repeat((64 << 10) / then.len().max(1));
            while std::time::Instant::now() < until {
                stream.write_all(&many)?;
            }
            Ok(())
        }
        Harm::Drip(bytes) => {
            hear(&mut stream)?;
            for byte in bytes {
                stream.write_all(&[*byte])?;
                std::thread::park_timeout(Duration::from_millis(50));
            }
            Ok(())
        }
    }
}

/// Waits until a request is there; how much of it does not matter.
fn hear(stream: &mut TcpStream) -> std::io::Result<usize> {
    stream.read(&mut [0; 64 << 10])
}

fn http(status: &str, headers: &str, body: &[u8]) -> Harm {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    Harm::Say([head.as_bytes(), body].concat())
}

fn head(text: &str) -> Vec<u8> {
    format!("HTTP/1.1 {text}\r\n\r\n").into_bytes()
}

/// Harms over HTTP/1.1. None of them is an acknowledgement.
pub(crate) fn over_http() -> Vec<(&'static str, Harm)> {
    let endless = |first: Vec<u8>, then: &[u8]| Harm::Endless { first, then: then.to_vec() };
    vec![
        ("hangs", Harm::Hang),
        ("closes", Harm::Close),
        ("resets", Harm::Reset),
        ("noise", Harm::Say((0..=255).cycle().take(4096).collect())),
        ("nothing but a status line", Harm::Say(b"HTTP/1.1 200".to_vec())),
        ("half a head", Harm::Say(b"HTTP/1.1 503 Later\r\nRetry-Af".to_vec())),
        ("half a body of an error", Harm::Say(b"HTTP/1.1 503 Later\r\nContent-Length: 1000\r\n\r\nhalf".to_vec())),
        (
            "an error without end",
            endless(head("503 Later\r\nTransfer-Encoding: chunked"), b"10\r\n0123456789abcdef\r\n"),
        ),
        ("an error of 100 GB", endless(head("500 No\r\nContent-Length: 100000000000"), b"no ")),
        ("headers without end", endless(b"HTTP/1.1 503 Later\r\n".to_vec(), b"X-More: and more\r\n")),
        ("one header without end", endless(b"HTTP/1.1 503 Later\r\nX: ".to_vec(), b"more")),
        ("interim answers without end", endless(Vec::new(), b"HTTP/1.1 100 Continue\r\n\r\n")),
        ("a slow answer", Harm::Drip(b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n".to_vec())),
        ("redirects to itself", http("302 Found", "Location: /v1/logs\r\n", b"")),
        ("redirects to a file", http("308 Permanent", "Location: file:///etc/passwd\r\n", b"")),
        ("redirects to nowhere", http("301 Moved", "", b"")),
        ("another protocol", http("101 Switching Protocols", "Upgrade: x\r\nConnection: Upgrade\r\n", b"")),
        ("throttles for years", http("503 Later", "Retry-After: 99999999999999999\r\n", b"")),
        ("throttles by less than nothing", http("429 Later", "Retry-After: -5\r\n", b"")),
        (
            "throttles until a date long past",
            http(
                "429 Later",
                "Date: Mon, 30 Nov 2026 10:00:00 GMT\r\nRetry-After: Mon, 30 Nov 1970 10:00:00 GMT\r\n",
                b"",
            ),
        ),
        ("a length that is no number", Harm::Say(head("503 Later\r\nContent-Length: many"))),
        ("two lengths", Harm::Say(head("503 Later\r\nContent-Length: 1\r\nContent-Length: 2"))),
        (
            "a chunk of 16 EiB",
            Harm::Say([head("503 Later\r\nTransfer-Encoding: chunked"), b"ffffffffffffffff\r\n".to_vec()].concat()),
        ),
        ("an unknown status", http("999 What", "", b"")),
        ("a status of no kind", http("99 What", "", b"")),
        ("a status that is a word", http("OK 200", "", b"")),
        (
            "an error in a broken encoding",
            http("503 Later", "Content-Type: application/x-protobuf\r\n", b"\xff\xff\xff\xff\xff"),
        ),
        ("an error of deep JSON", http("503 Later", "Content-Type: application/json\r\n", &vec![b'['; 60_000])),
        (
            "an error that writes to the terminal",
            http("503 Later", "Content-Type: text/plain\r\n", b"\x1b[2J\x1b]0;owned\x07\r\n\x00"),
        ),
        ("a version of its own", Harm::Say(b"HTTP/3.7 200 OK\r\n\r\n".to_vec())),
    ]
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| crate::http2::header(name, value)).collect()
}

/// An answer of headers alone to the first call.
fn trailers_only(more: &[(&str, &str)]) -> Harm {
    let mut all = vec![(":status", "200"), ("content-type", "application/grpc")];
    all.extend(more);
    Harm::Say([frame(4, 0, 0, &[]), frame(1, 5, 1, &fields(&all))].concat())
}

/// An answer with this body.
fn with_body(body: &[u8]) -> Harm {
    let head = fields(&[(":status", "200"), ("content-type", "application/grpc")]);
    let end = fields(&[("grpc-status", "14")]);
    Harm::Say([frame(4, 0, 0, &[]), frame(1, 4, 1, &head), frame(0, 0, 1, body), frame(1, 5, 1, &end)].concat())
}

/// Acknowledgements over HTTP that say what cannot be true. What was sent is delivered all the same.
pub(crate) fn lies() -> Vec<(&'static str, Harm)> {
    let protobuf = "Content-Type: application/x-protobuf\r\n";
    let json = "Content-Type: application/json\r\n";
    let partial = |bytes: &[u8]| http("200 OK", protobuf, bytes);
    vec![
        ("no answer in the body", http("200 OK", "", b"")),
        ("more rejected than were sent", partial(&[0x0a, 6, 0x08, 0xff, 0xff, 0xff, 0xff, 0x0f])),
        (
            "less than nothing rejected",
            partial(&[0x0a, 11, 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ),
        ("noise", partial(&[0xff; 100])),
        ("half a message", partial(&[0x0a, 100, 0x08])),
        (
            "a long complaint",
            partial(&[&[0x0a, 0x83, 0x80, 0x04, 0x12, 0xff, 0xff, 0x03][..], &[b'x'; 65_535]].concat()),
        ),
        (
            "a complaint that writes to the terminal",
            http("200 OK", json, b"{\"partialSuccess\":{\"errorMessage\":\"\\u001b[2J\"}}"),
        ),
        ("deep JSON", http("200 OK", json, &vec![b'['; 60_000])),
        ("a body that is never whole", Harm::Say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec())),
        (
            "a body of 100 GB",
            Harm::Endless { first: head("200 OK\r\nContent-Length: 100000000000"), then: b"yes ".to_vec() },
        ),
        (
            "a body without end",
            Harm::Endless {
                first: head("200 OK\r\nTransfer-Encoding: chunked"),
                then: b"10\r\n0123456789abcdef\r\n".to_vec(),
            },
        ),
        ("another success", http("204 No Content", "", b"")),
        (
            "a length below zero rejected in JSON",
            http("200 OK", json, b"{\"partialSuccess\":{\"rejectedLogRecords\":\"-9223372036854775808\"}}"),
        ),
        ("a number that is none", http("200 OK", json, b"{\"partialSuccess\":{\"rejectedLogRecords\":1e400}}")),
    ]
}

/// Harms over gRPC. None of them is an acknowledgement.
pub(crate) fn over_grpc() -> Vec<(&'static str, Harm)> {
    let hello = frame(4, 0, 0, &[]);
    let endless = |first: Vec<u8>, then: Vec<u8>| Harm::Endless { first: [hello.clone(), first].concat(), then };
    let say = |frames: Vec<u8>| Harm::Say([hello.clone(), frames].concat());
    let head = fields(&[(":status", "200"), ("content-type", "application/grpc")]);
    let years = "CAESBWxhdGVyGjUKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SCQoHCP//////Hw";
    vec![
        ("hangs", Harm::Hang),
        ("closes", Harm::Close),
        ("resets", Harm::Reset),
        ("speaks HTTP/1.1", http("400 Bad", "", b"what?")),
        ("noise", Harm::Say((0..=255).cycle().take(4096).collect())),
        ("greets and hangs", Harm::Drip(hello.clone())),
        ("goes away", say(frame(7, 0, 0, &[0; 8]))),
        ("refuses the stream", say(frame(3, 0, 1, &[0, 0, 0, 7]))),
        ("ends the stream without a status", say(frame(1, 5, 1, &head))),
        ("resets in the middle", say([frame(1, 4, 1, &head), frame(3, 0, 1, &[0, 0, 0, 2])].concat())),
        ("pings without end", endless(Vec::new(), frame(6, 0, 0, &[0; 8]))),
        ("settings without end", endless(Vec::new(), frame(4, 0, 0, &[0, 3, 0, 0, 0, 1]))),
        ("headers without end", endless(frame(1, 0, 1, &head), frame(9, 0, 1, &crate::http2::header("x", "more")))),
        ("data without end", endless(frame(1, 4, 1, &head), frame(0, 0, 1, &[0; 16_000]))),
        ("no window", say(frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]))),
        ("a window that overflows", say(frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff]).repeat(2))),
        ("no streams", say(frame(4, 0, 0, &[0, 3, 0, 0, 0, 0]))),
        ("pushes", say(frame(5, 4, 1, &[0, 0, 0, 2]))),
        ("a broken header block", say(frame(1, 5, 1, &[0xff; 20]))),
        ("a status of no code", trailers_only(&[("grpc-status", "99")])),
        ("a status that is a word", trailers_only(&[("grpc-status", "ok")])),
        ("a status below zero", trailers_only(&[("grpc-status", "-1")])),
        ("no status", trailers_only(&[])),
        ("throttles for years", trailers_only(&[("grpc-status", "8"), ("grpc-status-details-bin", years)])),
        ("details that are no base64", trailers_only(&[("grpc-status", "14"), ("grpc-status-details-bin", "***")])),
        ("details that are no message", trailers_only(&[("grpc-status", "14"), ("grpc-status-details-bin", "////")])),
        ("a long message", trailers_only(&[("grpc-status", "14"), ("grpc-message", &"x".repeat(15_000))])),
        (
            "a message that writes to the terminal",
            trailers_only(&[("grpc-status", "14"), ("grpc-message", "%1b[2J%0a%00")]),
        ),
        ("another content type", say(frame(1, 5, 1, &fields(&[(":status", "200"), ("content-type", "text/html")])))),
        ("an error of HTTP", say(frame(1, 5, 1, &fields(&[(":status", "502")])))),
        ("a redirect", say(frame(1, 5, 1, &fields(&[(":status", "307"), ("location", "http://127.0.0.1:1/")])))),
        ("a message of 4 GiB", with_body(&[0, 0xff, 0xff, 0xff, 0xff, 1])),
        ("half a message", with_body(&[0, 0, 0, 0, 9, 1])),
        ("a message in an unnamed encoding", with_body(&[1, 0, 0, 0, 1, 1])),
        ("a message of noise", with_body(&[0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff])),
    ]
}
