//! HTTP by hand, so that requests can be as wrong as they like.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::stage::PATIENCE;

/// An answer, or what came of one.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends bytes and reads to the end of the connection. A peer that hangs up while it is written to may have answered.
fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    let mut answer = Vec::new();
    // Whether all was written or read is for the answer to show.
    if stream.write_all(bytes).and_then(|()| stream.read_to_end(&mut answer)).is_err() {
        stream.read_to_end(&mut answer).unwrap_or_default();
    }
    answer
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[track_caller]
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, "GET", path, "", b"")
}

/// A request with these further header lines, each with its line end.
#[track_caller]
pub(crate) fn request(address: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    let bytes = exchange(address, &[head.as_bytes(), body].concat());
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an HTTP answer");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

/// OTLP over HTTP.
#[track_caller]
pub(crate) fn post(address: SocketAddr, body: &[u8]) -> Answer {
    request(address, "POST", "/v1/logs", "Content-Type: application/x-protobuf\r\n", body)
}
