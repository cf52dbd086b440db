//! The device under the workload: the server's process, the loop device over its `disk`, and the tape.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::mount::UnmountFlags;

use crate::filesystem::FileSystem;
use crate::model::Said;
use crate::room::{Loop, Mounted, Room};
use crate::trace::Trace;
use crate::wait::wait_for;
use crate::{SERVER, server};

const LIMIT: Duration = Duration::from_secs(20);

/// A running device.
pub(crate) struct Device {
    server: Server,
    tape: PathBuf,
    file_system: FileSystem,
    point: PathBuf,
}

struct Server {
    process: Child,
    point: PathBuf,
}

/// Where the workload writes its marks. Shared by its threads.
#[derive(Debug)]
pub(crate) struct Marker(File);

impl Device {
    /// A device that holds the bytes of the file `base`.
    pub(crate) fn start(room: &Room, base: &Path, file_system: FileSystem) -> Self {
        let (point, tape) = (room.mount_point("device"), room.memory.join("tape"));
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "server_process", "--ignored", "--nocapture"])
            .env(SERVER, std::env::join_paths([&*point, base, &tape]).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let server = Server { process, point };
        let disk = server.point.join("disk");
        wait_for(LIMIT, || disk.exists().then_some(())).expect("the server of the device does not start");
        Self { server, tape, file_system, point: room.mount_point("mounted") }
    }

    pub(crate) fn mount(&self) -> Mounted {
        let device = Loop::attach(&self.server.point.join("disk"));
        // The loop device is given back now, and so goes with the mount, whatever ends that.
        Mounted::new(device.path(), &self.point, self.file_system).unwrap()
    }

    pub(crate) fn marker(&self) -> Marker {
        Marker(OpenOptions::new().write(true).open(self.server.point.join("mark")).unwrap())
    }

    /// Makes the device fail, or heals it; see [`server`].
    pub(crate) fn command(&self, text: &str) {
        let mut file = OpenOptions::new().write(true).open(self.server.point.join("command")).unwrap();
        file.write_all(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
    }

    /// The tape as it is now.
    pub(crate) fn trace(&self) -> Trace {
        Trace::read(&self.tape)
    }

    /// Ends the device, and gives the tape.
    pub(crate) fn end(mut self) -> Trace {
        self.server.stop();
        Trace::read(&self.tape)
    }
}

impl Server {
    fn stop(&mut self) {
        // The end of its standard input is what it waits for.
        drop(self.process.stdin.take());
        if wait_for(LIMIT, || self.process.try_wait().unwrap()).is_none() {
            self.process.kill().unwrap();
            self.process.wait().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        // The server took its mount along, if it ended by itself.
        if let Err(e) = rustix::mount::unmount(&self.point, UnmountFlags::DETACH) {
            assert_eq!(e, rustix::io::Errno::INVAL, "unmount the device");
        }
    }
}

impl Marker {
    /// Returns when the device has it on the tape.
    pub(crate) fn say(&self, text: &str) {
        // One write is one mark: it must not be split.
        let written = rustix::io::pwrite(&self.0, text.as_bytes(), 0).unwrap();
        assert_eq!(written, text.len());
    }

    pub(crate) fn tell(&self, said: impl IntoIterator<Item = Said>) {
        let text: String = said.into_iter().map(|said| said.to_string()).collect();
        if !text.is_empty() {
            self.say(&text);
        }
    }
}

/// What the server's process runs.
pub(crate) fn serve() {
    let Some(paths) = std::env::var_os(SERVER) else { return };
    let paths: Vec<PathBuf> = std::env::split_paths(&paths).collect();
    server::serve(&paths[0], &paths[1], &paths[2]);
}
