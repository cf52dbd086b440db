//! What the agent would meet at its start: configuration, data directory, ports, rights.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use rustix::fs::Access;

use super::machine::Machine;
use crate::config::{Config, Faults, Receiver};
use crate::listen::holder;
use crate::spool::Reader;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) name: String,
    pub(super) ok: bool,
    pub(super) message: String,
    pub(super) fix: Option<String>,
}

impl Check {
    pub(super) fn ok(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { name: name.into(), ok: true, message: message.into(), fix: None }
    }

    pub(super) fn gap(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { ok: false, ..Self::ok(name, message) }
    }

    #[must_use]
    pub(super) fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }
}

/// What a missing right costs. Those that hooks cannot do without are told with the hooks.
const RIGHTS: [(&str, &str); 2] = [
    ("CAP_SYSLOG", "packet drops do not tell the kernel function"),
    ("CAP_SYS_PTRACE", "executables of other users' processes may be unknown"),
];

pub(super) fn all(config: &Result<Config, Faults>, machine: &Machine) -> Vec<Check> {
    let mut checks = vec![configuration(config)];
    if let Ok(config) = config {
        let owner = owner(&config.data_dir);
        checks.push(data_directory(&config.data_dir, owner));
        checks.extend(ports(config).into_iter().map(|(what, address)| port(&what, address, owner)));
    }
    checks.push(cgroups(Path::new("/sys/fs/cgroup")));
    let missing = RIGHTS.iter().filter(|(capability, _)| !machine.has(capability));
    checks.extend(missing.map(|(capability, cost)| {
        Check::gap(*capability, format!("not held: {cost}")).fix(format!("give the agent {capability}"))
    }));
    checks
}

fn configuration(config: &Result<Config, Faults>) -> Check {
    match config {
        Ok(_) => Check::ok("configuration", "valid"),
        Err(faults) => Check::gap("configuration", format!("not valid, {} faults", faults.faults.len()))
            .fix("tidegate validate shows each with its line"),
    }
}

/// The process that runs on this directory now.
fn owner(directory: &Path) -> Option<u32> {
    let inspection = Reader::open(directory).and_then(|reader| reader.inspect()).ok()?;
    inspection.owner.filter(|owner| owner.alive).map(|owner| owner.pid)
}

fn data_directory(directory: &Path, owner: Option<u32>) -> Check {
    let name = "data directory";
    let shown = directory.display();
    if let Some(pid) = owner {
        return Check::ok(name, format!("{shown}, in use by the agent with pid {pid}"));
    }
    // What does not exist yet is made in the nearest folder that does.
    let Some(folder) = directory.ancestors().find(|folder| folder.exists()) else {
        return Check::gap(name, format!("{shown} has no parent that exists")).fix("name another with --data-dir");
    };
    if !folder.is_dir() {
        return Check::gap(name, format!("{} is not a directory", folder.display()))
            .fix("name another with --data-dir");
    }
    match rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) if folder == directory => Check::ok(name, format!("{shown}, writable")),
        Ok(()) => Check::ok(name, format!("{shown}, made at the first start")),
        Err(error) => Check::gap(name, format!("{} may not be written: {error}", folder.display()))
            .fix("run as the user it belongs to, or name another with --data-dir"),
    }
}

/// Everything that would listen, with the key that moves it.
fn ports(config: &Config) -> Vec<(String, SocketAddr)> {
    let mut ports = Vec::new();
    for (id, receiver) in &config.receivers {
        if let Receiver::Otlp(settings) = receiver {
            let grpc = settings.grpc.iter().map(|grpc| ("grpc", &grpc.endpoint));
            let endpoints = grpc.chain(settings.http.iter().map(|http| ("http", &http.endpoint)));
            let ports_of = endpoints.filter_map(|(name, endpoint)| Some((format!("{id} {name}"), endpoint.address()?)));
            ports.extend(ports_of);
        }
    }
    ports.extend(config.health.iter().map(|health| ("health".to_owned(), health.endpoint)));
    ports.extend(config.metrics.iter().map(|address| ("metrics".to_owned(), *address)));
    ports
}

fn port(what: &str, address: SocketAddr, owner: Option<u32>) -> Check {
    let name = format!("port {what}");
    match TcpListener::bind(address) {
        Ok(_) => Check::ok(name, format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match holder(address) {
            Some(holder) if Some(holder.pid) == owner => Check::ok(name, format!("{address} is the agent's")),
            Some(holder) => {
                Check::gap(name, format!("{address} is held by {holder}")).fix("stop it, or choose another port")
            }
            None => {
                Check::gap(name, format!("{address} is in use")).fix("stop what listens there, or choose another port")
            }
        },
        Err(error) => Check::gap(name, format!("{address}: {error}")).fix("choose an address of this machine"),
    }
}

fn cgroups(root: &Path) -> Check {
    let name = "cgroups";
    if root.join("cgroup.controllers").exists() {
        Check::ok(name, "v2")
    } else if root.join("unified/cgroup.procs").exists() {
        Check::ok(name, "v1 and v2 (hybrid)")
    } else if root.join("memory").exists() {
        Check::ok(name, "v1")
    } else {
        Check::gap(name, format!("none at {}: events do not tell cgroup and container", root.display()))
            .fix("mount cgroup2 there")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_is_judged_by_its_parent() {
        let temporary = tempfile::tempdir().unwrap();
        let there = data_directory(temporary.path(), None);
        assert!(there.ok && there.message.ends_with("writable"), "{there:?}");
        let new = data_directory(&temporary.path().join("a/b"), None);
        assert!(new.ok && new.message.ends_with("made at the first start"), "{new:?}");
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "makes a file where a directory is wanted")]
    fn a_file_in_the_way_is_a_gap() {
        let temporary = tempfile::tempdir().unwrap();
        let file = temporary.path().join("file");
        std::fs::write(&file, "").unwrap();
        let check = data_directory(&file.join("data"), None);
        assert!(!check.ok && check.fix.is_some(), "{check:?}");
    }

    #[test]
    fn a_port_that_is_held_names_its_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let own = std::process::id();
        let check = port("otlp grpc", address, None);
        assert!(!check.ok && check.message.contains(&format!("{own}")), "{check:?}");
        assert!(port("otlp grpc", address, Some(own)).ok);
    }
}
