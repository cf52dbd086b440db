//! Sockets that outlive a reload: while the graph is changed, who connects waits in the kernel's queue, and nobody is
//! refused.

use std::io;
use std::net::{SocketAddr, SocketAddrV6, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::unix::{self, SocketMode};
use super::{BindError, Typed, bind_v6, ready};

/// What listens, and what listened before and was not asked for again yet.
#[derive(Debug, Default)]
pub struct Ports {
    open: Vec<Open>,
    before: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    place: Place,
    socket: Socket,
}

/// Where a socket was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Tcp(SocketAddr),
    /// IPv6 alone.
    Tcp6(SocketAddrV6),
    Unix(PathBuf, SocketMode),
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

/// A socket in the file system, which listens. Its name goes with the last handle of it.
#[derive(Debug)]
pub struct UnixSocket {
    /// What accepts.
    pub listener: UnixListener,
    /// Its name.
    pub file: Arc<SocketFile>,
}

impl Ports {
    /// What listens now is asked for again, or goes with [`Ports::settle`].
    pub fn begin(&mut self) {
        self.before.append(&mut self.open);
    }

    /// Gives up what was not asked for again.
    pub fn settle(&mut self) {
        self.before.clear();
    }

    /// Listens on `endpoint`, which the configuration names at `key`. Connections wait until somebody accepts them.
    ///
    /// # Errors
    /// [`BindError`], which names the port, its holder where known, and the `--set` that moves it.
    pub fn listen(&mut self, endpoint: SocketAddr, key: &str) -> Result<TcpListener, BindError> {
        self.listen_as(endpoint, key, |endpoint| endpoint.to_string())
    }

    /// As [`Ports::listen`], for a setting that is not typed as `address:port`.
    ///
    /// # Errors
    /// As [`Ports::listen`].
    pub fn listen_as(&mut self, endpoint: SocketAddr, key: &str, typed: Typed) -> Result<TcpListener, BindError> {
        let bound = self.tcp(Place::Tcp(endpoint), || TcpListener::bind(endpoint));
        ready(bound, endpoint, key, typed)
    }

    /// As [`Ports::listen`], for IPv6 alone: at `[::]` too, where [`Ports::listen`] takes IPv4 as well.
    ///
    /// # Errors
    /// As [`Ports::listen`].
    pub fn listen_v6(&mut self, endpoint: SocketAddrV6, key: &str) -> Result<TcpListener, BindError> {
        let bound = self.tcp(Place::Tcp6(endpoint), || bind_v6(endpoint));
        ready(bound, endpoint.into(), key, |endpoint| endpoint.to_string())
    }

    /// A socket in the file system. One that nobody answers at is replaced.
    ///
    /// # Errors
    /// When somebody listens there, it is no socket, or the directory takes none.
    pub fn unix(&mut self, path: &Path, mode: SocketMode) -> io::Result<UnixSocket> {
        let place = Place::Unix(path.to_owned(), mode);
        if let Some(Socket::Unix(socket)) = self.claim(&place) {
            return socket.try_clone();
        }
        // With another mode it is another socket.
        self.before.retain(|open| !matches!(&open.place, Place::Unix(other, _) if other == path));
        unix::is_free(path)?;
        let listener = unix::listen(path, mode)?;
        let file = Arc::new(SocketFile { path: path.to_owned(), identity: unix::identity(path) });
        let socket = UnixSocket { listener, file };
        self.open.push(Open { place, socket: Socket::Unix(socket.try_clone()?) });
        Ok(socket)
    }

    fn tcp(&mut self, place: Place, bind: impl Fn() -> io::Result<TcpListener>) -> io::Result<TcpListener> {
        if let Some(Socket::Tcp(listener)) = self.claim(&place) {
            return listener.try_clone();
        }
        let bound = match bind() {
            // It may be ours, at another address of the same port.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && self.give_up_port(&place) => bind()?,
            bound => bound?,
        };
        self.open.push(Open { place, socket: Socket::Tcp(bound.try_clone()?) });
        Ok(bound)
    }

    /// The socket that was asked for at this place before. The oldest, where several were: with port 0.
    fn claim(&mut self, place: &Place) -> Option<&Socket> {
        let at = self.before.iter().position(|open| open.place == *place)?;
        self.open.push(self.before.remove(at));
        self.open.last().map(|open| &open.socket)
    }

    /// Gives up what listened on this port before; false when nothing did.
    fn give_up_port(&mut self, place: &Place) -> bool {
        let port = match place {
            Place::Tcp(endpoint) => endpoint.port(),
            Place::Tcp6(endpoint) => endpoint.port(),
            Place::Unix(..) => return false,
        };
        let count = self.before.len();
        self.before.retain(|open| match &open.socket {
            Socket::Tcp(listener) => listener.local_addr().is_ok_and(|address| address.port() != port),
            Socket::Unix(_) => true,
        });
        self.before.len() < count
    }
}

impl UnixSocket {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { listener: self.listener.try_clone()?, file: Arc::clone(&self.file) })
    }
}

/// The name of a socket in the file system.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Which file it is: another process may have put its own there since.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && unix::identity(&self.path) == self.identity {
            unix::remove(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn what_is_asked_for_again_is_the_same_socket_and_the_rest_goes() {
        let mut ports = Ports::default();
        let addresses = [(); 3].map(|()| ports.listen(any(), "key").unwrap().local_addr().unwrap());
        ports.begin();
        let again = [(); 2].map(|()| ports.listen(any(), "key").unwrap().local_addr().unwrap());
        assert_eq!(again[..], addresses[..2]);
        // Nobody accepts, and nobody is refused.
        std::net::TcpStream::connect(addresses[2]).unwrap();
        ports.settle();
        std::net::TcpStream::connect(addresses[0]).unwrap();
        assert!(std::net::TcpStream::connect(addresses[2]).is_err());
    }

    #[test]
    fn another_address_of_a_port_that_was_ours_can_be_had() {
        let mut ports = Ports::default();
        let first = ports.listen(any(), "key").unwrap().local_addr().unwrap();
        ports.begin();
        let everywhere = SocketAddr::from(([0, 0, 0, 0], first.port()));
        assert_eq!(ports.listen(everywhere, "key").unwrap().local_addr().unwrap(), everywhere);
        assert!(ports.listen(first, "key").is_err(), "it is in use now, by ourselves");
    }

    #[test]
    fn a_socket_in_the_file_system_stays_while_it_is_asked_for() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("otlp.sock");
        let mut ports = Ports::default();
        drop(ports.unix(&path, SocketMode::User).unwrap());
        unix::connect(&path).unwrap();
        let identity = unix::identity(&path);
        ports.begin();
        drop(ports.unix(&path, SocketMode::User).unwrap());
        ports.settle();
        assert_eq!(unix::identity(&path), identity);
        ports.begin();
        drop(ports.unix(&path, SocketMode::Group).unwrap());
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.symlink_metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o660, "it is another one");
        ports.begin();
        ports.settle();
        assert!(!path.exists());
    }
}
