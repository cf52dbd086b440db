//! The machine that the events come from: the resource of every record.

use super::event::Attributes;

/// What does not change while the agent runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// The name that the kernel has for the machine.
    pub name: String,
    /// `/etc/machine-id`.
    pub id: Option<String>,
    /// The architecture, as the semantic conventions spell it.
    pub arch: String,
    /// The kernel's release.
    pub kernel_release: String,
    /// Changes with each boot.
    pub boot_id: String,
}

impl Host {
    /// Reads what the machine says of itself.
    pub(crate) fn read() -> Self {
        let uname = rustix::system::uname();
        let text = |s: &std::ffi::CStr| s.to_string_lossy().into_owned();
        Self {
            name: text(uname.nodename()),
            id: read_line("/etc/machine-id"),
            arch: arch(&text(uname.machine())),
            kernel_release: text(uname.release()),
            boot_id: read_line("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
        }
    }

    /// The resource's attributes.
    pub(crate) fn resource(&self) -> Attributes {
        let mut attributes = Attributes::default();
        attributes.text("service.name", "tidegate".to_owned());
        attributes.text("service.version", env!("CARGO_PKG_VERSION").to_owned());
        attributes.text("host.name", self.name.clone());
        attributes.text("host.id", self.id.clone());
        attributes.text("host.arch", self.arch.clone());
        attributes.text("os.type", "linux".to_owned());
        attributes.text("kernel.release", self.kernel_release.clone());
        attributes.text("kernel.boot_id", self.boot_id.clone());
        attributes
    }
}

/// The first line of a small file of the kernel's or the system's; None when it cannot be read or is empty.
pub(crate) fn read_line(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().next().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned)
}

fn arch(machine: &str) -> String {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "i386" | "i486" | "i586" | "i686" => "x86",
        other => other,
    }
    .to_owned()
}
