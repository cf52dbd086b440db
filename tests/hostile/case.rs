//! One hostile client: what it sends, and what it may be answered.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// The longest that a case may hold its connection; a receiver that keeps it longer has hung.
const LIMIT: Duration = Duration::from_secs(20);

/// The port that a case is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    Grpc,
    Http,
}

/// What the client does once everything is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Reads until the server closes; there must be an answer of HTTP/1.1 that is no success.
    Refused,
    /// The same, and success is fine too: what looks bad may be valid by chance.
    Answered,
    /// Goes away at once.
    Leave,
    /// Closes its half and waits for the server's end.
    Hear,
}

pub(crate) struct Case {
    pub(crate) family: &'static str,
    pub(crate) port: Port,
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: Then,
}

impl Case {
    /// Plays it. `Err` says what the server did wrong.
    pub(crate) fn play(&self, grpc: SocketAddr, http: SocketAddr) -> Result<(), String> {
        let address = if self.port == Port::Grpc { grpc } else { http };
        let mut stream = TcpStream::connect(address).map_err(|error| format!("it accepts nobody: {error}"))?;
        stream.set_read_timeout(Some(LIMIT)).map_err(|error| error.to_string())?;
        stream.set_write_timeout(Some(LIMIT)).map_err(|error| error.to_string())?;
        // A server may have heard enough before all is sent.
        let sent = stream.write_all(&self.bytes);
        if self.then == Then::Leave {
            return Ok(());
        }
        if self.then == Then::Hear {
            drop(stream.shutdown(Shutdown::Write));
        }
        let mut heard = Vec::new();
        let mut piece = [0; 16 << 10];
        loop {
            match stream.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => heard.extend_from_slice(&piece[..length]),
                Err(error) if is_timeout(&error) => {
                    return Err(format!("it neither answers nor closes, sent: {sent:?}"));
                }
                // A reset: it heard enough.
                Err(_) => break,
            }
        }
        self.judge(&heard)
    }

    fn judge(&self, heard: &[u8]) -> Result<(), String> {
        let status = heard
            .strip_prefix(b"HTTP/1.1 ")
            .and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok()?.parse::<u16>().ok());
        match (self.then, status) {
            (Then::Refused, Some(status)) if (400..600).contains(&status) => Ok(()),
            (Then::Answered, Some(status)) if status == 200 || (400..600).contains(&status) => Ok(()),
            (Then::Hear | Then::Leave, _) => Ok(()),
            (then, status) => Err(format!(
                "wanted {then:?}, got {status:?}: {}",
                String::from_utf8_lossy(&heard[..heard.len().min(200)])
            )),
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
