//! Unix sockets: who may connect is said by the mode of the file.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Longer paths do not fit into a socket's address (108 bytes, the last a zero).
const MAX_PATH: usize = 100;

/// Who may connect to a socket, if they reach its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SocketMode {
    /// 0600: the user who made it.
    #[default]
    User,
    /// 0660: its group too, which is that of who made it, or of a directory with the bit `g+s`.
    Group,
    /// 0666.
    Everyone,
}

/// Listens, non-blocking, on a socket that these may connect to. One that a process left that is gone is replaced: who calls this
/// must hold the lock of the directory.
///
/// # Errors
/// What making a file in that directory answers.
#[allow(clippy::disallowed_methods, reason = "a socket's name is not data: nothing is synced")]
pub fn listen(path: &Path, mode: SocketMode) -> io::Result<UnixListener> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!("~{name}"));
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = with_short(&new, |path| UnixListener::bind(path))?;
    // Before it has its name: nobody else may connect, not even for a moment.
    std::fs::set_permissions(&new, mode.permissions())?;
    std::fs::rename(&new, path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl SocketMode {
    fn permissions(self) -> Permissions {
        Permissions::from_mode(match self {
            Self::User => 0o600,
            Self::Group => 0o660,
            Self::Everyone => 0o666,
        })
    }
}

/// Whether a socket may be put there: nothing is there, or one that nobody listens on any more.
///
/// # Errors
/// Already in use when somebody may listen there, or when it is no socket.
pub fn is_free(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt as _;
    let in_use = |why: &str| Err(io::Error::new(io::ErrorKind::AddrInUse, why.to_owned()));
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => return in_use("there is a file that is no socket"),
        Ok(_) => {}
    }
    match connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => in_use(&format!("a socket is there, and whether somebody listens cannot be seen: {error}")),
        Ok(_) => in_use("another process listens there"),
    }
}

/// Which file stands there: device and inode.
#[must_use]
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let found = std::fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

/// Connects to such a socket.
///
/// # Errors
/// Not found or refused when nobody listens there; permission denied when it is another user's.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    with_short(path, |path| UnixStream::connect(path))
}

/// Removes the socket's name, if it is there.
#[allow(clippy::disallowed_methods, reason = "a socket's name is not data: nothing is synced")]
pub fn remove(path: &Path) {
    // One that stays is replaced at the next start.
    std::fs::remove_file(path).unwrap_or_default();
}

/// Uses a path that fits into an address: a long one through its open directory.
fn with_short<T>(path: &Path, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= MAX_PATH {
        return with(path);
    }
    let directory = File::open(path.parent().unwrap_or(Path::new(".")))?;
    let through = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    with(&through.join(path.file_name().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_and_a_socket_that_was_left_are_no_trouble() {
        let home = tempfile::tempdir().unwrap();
        let deep = home.path().join("d".repeat(150));
        std::fs::create_dir(&deep).unwrap();
        let path = deep.join("control.sock");
        drop(listen(&path, SocketMode::User).unwrap());
        assert_eq!(connect(&path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let _listener = listen(&path, SocketMode::User).unwrap();
        connect(&path).unwrap();
        let mode = std::fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        remove(&path);
        assert_eq!(connect(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
