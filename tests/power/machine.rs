//! The machine that can be switched off: booted once, and resumed from a snapshot for every cycle.
//!
//! The snapshot is taken before the guest has loaded its disk's driver, so that nothing of an earlier life is in it:
//! a resumed guest finds the disk, replays its file system's journal and starts the agent, as after a boot. Its
//! random numbers are reseeded and its clock is set before that.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::guest::Guest;
use crate::nbd::Server;
use crate::support::{free_port, wait_for};

const BOOT_LIMIT: Duration = Duration::from_secs(180);
const CONTROL_LIMIT: Duration = Duration::from_secs(180);
const MEMORY_MIB: u32 = 320;
const AGENT_PORT: u16 = 4317;

/// The kernel, what it boots, and the state from which it is resumed.
pub(crate) struct Machine {
    home: tempfile::TempDir,
    has_snapshot: bool,
}

impl Machine {
    /// Builds the guest around the real binary.
    pub(crate) fn build() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/power");
        let home = tempfile::tempdir_in("/dev/shm").unwrap();
        let mut script = Command::new(root.join("guest.sh"));
        script.arg(env!("CARGO_BIN_EXE_tidegate")).arg(root.join("agent.yaml")).arg(home.path());
        assert!(script.status().unwrap().success(), "tests/power/guest.sh failed");
        Self { home, has_snapshot: false }
    }

    /// Where a disk's server may listen.
    pub(crate) fn socket(&self, disk: &str) -> PathBuf {
        self.home.path().join(disk)
    }

    /// Boots a guest with these disks, up to where it waits.
    pub(crate) fn boot(&self, disks: &[&Server]) -> Guest {
        let (guest, _) = self.start(disks, &[]);
        guest.wait_said("waiting", BOOT_LIMIT);
        guest
    }

    /// A guest that waits, resumed: milliseconds instead of a boot. The first call boots. Every disk must have the
    /// same size, as the guest knows it from the snapshot.
    pub(crate) fn resume(&mut self, disk: &Server) -> Guest {
        if !self.has_snapshot {
            self.take_snapshot(disk);
            self.has_snapshot = true;
        }
        let incoming = format!("exec:cat '{}'", self.snapshot().display());
        let (guest, control) = self.start(&[disk], &["-incoming", &incoming]);
        // Input before that would be lost with the state that the emulator began with.
        control.wait_running().unwrap_or_else(|e| panic!("the guest was not resumed: {e}\n{}", guest.console()));
        guest
    }

    fn take_snapshot(&self, disk: &Server) {
        let (guest, control) = self.start(&[disk], &[]);
        let took = guest.wait_said("waiting", BOOT_LIMIT).as_secs_f64();
        let console = guest.console();
        let kernel = console.lines().find_map(|line| line.strip_prefix("kernel ")).unwrap_or("unknown");
        println!("figure: the guest's kernel {kernel}, booted in {took:.1} s, resumed from then on");
        control.save(&self.snapshot()).unwrap_or_else(|e| panic!("no snapshot: {e}\n{}", guest.console()));
        guest.kill();
    }

    fn snapshot(&self) -> PathBuf {
        self.home.path().join("snapshot")
    }

    fn start(&self, disks: &[&Server], more: &[&str]) -> (Guest, Control) {
        let control = Control::at(self.home.path().join("control"));
        let agent = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut arguments = self.arguments(disks, &control, agent);
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        (Guest::start(&arguments, agent), control)
    }

    fn arguments(&self, disks: &[&Server], control: &Control, agent: SocketAddr) -> Vec<String> {
        let at = |name: &str| self.home.path().join(name).display().to_string();
        let mut arguments: Vec<String> =
            ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio"]
                .map(str::to_owned)
                .into();
        let mut option = |name: &str, value: String| arguments.extend([format!("-{name}"), value]);
        option("machine", "pc".to_owned());
        option("accel", "tcg".to_owned());
        option("cpu", "max".to_owned());
        option("m", MEMORY_MIB.to_string());
        // Another id at each start: the guest's kernel reseeds its random numbers.
        option("device", "vmgenid,guid=auto".to_owned());
        option("netdev", format!("user,id=net,hostfwd=tcp:{agent}-:{AGENT_PORT}"));
        option("device", "virtio-net-pci,netdev=net".to_owned());
        option("qmp", format!("unix:{},server=on,wait=off", control.socket.display()));
        for (number, disk) in disks.iter().enumerate() {
            let socket = disk.socket.display();
            option("blockdev", format!("driver=nbd,node-name=d{number},server.type=unix,server.path={socket}"));
            let block = "write-cache=on,logical_block_size=4096,physical_block_size=4096";
            option("device", format!("virtio-blk-pci,drive=d{number},{block}"));
        }
        option("kernel", at("vmlinuz"));
        option("initrd", at("initrd.gz"));
        // On a busy machine the emulator's timer is late, which the kernel would take for a broken one.
        option("append", "console=ttyS0 quiet panic=-1 no_timer_check".to_owned());
        arguments
    }
}

/// The emulator's control socket.
struct Control {
    socket: PathBuf,
}

impl Control {
    #[allow(clippy::disallowed_methods, reason = "the socket of the emulator before must not be taken for this one's")]
    fn at(socket: PathBuf) -> Self {
        // The first has none.
        drop(std::fs::remove_file(&socket));
        Self { socket }
    }

    fn connect(&self) -> Result<BufReader<UnixStream>, String> {
        let stream = wait_for(CONTROL_LIMIT, || UnixStream::connect(&self.socket).ok()).ok_or("does not listen")?;
        stream.set_read_timeout(Some(CONTROL_LIMIT)).unwrap();
        let mut stream = BufReader::new(stream);
        next(&mut stream)?;
        execute(&mut stream, "qmp_capabilities", json!({}))?;
        Ok(stream)
    }

    /// Waits until the guest runs.
    fn wait_running(&self) -> Result<(), String> {
        let mut stream = self.connect()?;
        let running = wait_for(CONTROL_LIMIT, || {
            let state = execute(&mut stream, "query-status", json!({}));
            state.map(|state| state["running"] == true).map_or_else(|e| Some(Err(e)), |runs| runs.then_some(Ok(())))
        });
        running.unwrap_or_else(|| Err("it does not run".to_owned()))
    }

    /// Writes the guest's state to a file.
    fn save(&self, file: &Path) -> Result<(), String> {
        let mut stream = self.connect()?;
        let uri = format!("exec:cat > '{}'", file.display());
        execute(&mut stream, "migrate", json!({ "uri": uri }))?;
        let done = wait_for(BOOT_LIMIT, || {
            let state = execute(&mut stream, "query-migrate", json!({}));
            match state.as_ref().map(|state| state["status"].as_str()) {
                Ok(Some("completed")) => Some(Ok(())),
                Ok(Some("failed")) | Err(_) => Some(Err(format!("{state:?}"))),
                Ok(_) => None,
            }
        });
        done.unwrap_or_else(|| Err("the state was not saved in time".to_owned()))
    }
}

fn execute(stream: &mut BufReader<UnixStream>, command: &str, arguments: Value) -> Result<Value, String> {
    let request = json!({ "execute": command, "arguments": arguments });
    writeln!(stream.get_mut(), "{request}").map_err(|e| e.to_string())?;
    loop {
        let mut answer = next(stream)?;
        if answer.get("return").is_some() {
            return Ok(answer["return"].take());
        }
        if answer.get("error").is_some() {
            return Err(answer.to_string());
        }
    }
}

fn next(stream: &mut BufReader<UnixStream>) -> Result<Value, String> {
    let mut line = String::new();
    stream.read_line(&mut line).map_err(|e| e.to_string())?;
    serde_json::from_str(&line).map_err(|e| format!("{line:?}: {e}"))
}
