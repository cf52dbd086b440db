//! Kernel addresses to names. No raw address leaves the host: what has no name is left out.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::time::{Duration, Instant};

/// A table that lacked an address is read again at most this often: a module may have been loaded since.
const REREAD: Duration = Duration::from_secs(60);
/// A symbol this far below an address is not the function that holds it.
const FAR: u64 = 1 << 20;

/// The kernel's functions.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    /// Opened while the rights are there: the kernel decides at the opening whether addresses are told.
    file: Option<File>,
    /// Address, and where the name begins and ends, by address.
    table: Vec<(u64, u32, u32)>,
    names: String,
    read: Option<Instant>,
}

impl Symbols {
    /// Keeps `/proc/kallsyms` open; it is read when the first address is to be named.
    pub(crate) fn open() -> Self {
        Self { file: File::open("/proc/kallsyms").ok(), ..Self::default() }
    }

    /// `function+0x12`; None where the kernel does not tell.
    pub(crate) fn name(&mut self, address: u64) -> Option<String> {
        let (function, offset) = self.locate(address)?;
        Some(format!("{function}+{offset:#x}"))
    }

    /// One line for each frame that has a name, innermost first.
    pub(crate) fn stack(&mut self, addresses: &[u64]) -> Vec<String> {
        addresses.iter().filter_map(|address| self.name(*address)).collect()
    }

    fn locate(&mut self, address: u64) -> Option<(&str, u64)> {
        if self.find(address).is_none() && self.read.is_none_or(|at| at.elapsed() >= REREAD) {
            self.load();
        }
        let (start, from, to) = self.find(address)?;
        Some((self.names.get(from as usize..to as usize)?, address - start))
    }

    fn find(&self, address: u64) -> Option<(u64, u32, u32)> {
        let after = self.table.partition_point(|(start, ..)| *start <= address);
        let found = *self.table.get(after.checked_sub(1)?)?;
        (address - found.0 < FAR).then_some(found)
    }

    fn load(&mut self) {
        self.read = Some(Instant::now());
        let Some(file) = &mut self.file else { return };
        if let Err(error) = file.rewind() {
            tracing::warn!(%error, "/proc/kallsyms cannot be read again");
            return;
        }
        let lines = BufReader::new(&*file).lines().map_while(Result::ok);
        (self.table, self.names) = parse(lines);
    }
}

/// The functions of lines such as `ffffffff81000000 T _stext` or `ffffffffc0000000 t veth_xmit<TAB>[veth]`.
fn parse(lines: impl Iterator<Item = String>) -> (Vec<(u64, u32, u32)>, String) {
    let (mut table, mut names) = (Vec::new(), String::new());
    for line in lines {
        let mut parts = line.split_ascii_whitespace();
        let (Some(address), Some(kind), Some(name)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let address = u64::from_str_radix(address, 16).unwrap_or(0);
        // Without CAP_SYSLOG every address is told as zero.
        if address == 0 || !matches!(kind, "t" | "T" | "w" | "W") {
            continue;
        }
        let Ok(from) = u32::try_from(names.len()) else { break };
        names.push_str(name);
        let Ok(to) = u32::try_from(names.len()) else { break };
        table.push((address, from, to));
    }
    table.sort_unstable();
    (table, names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols() -> Symbols {
        let lines = ["ffffffff81001000 T second", "ffffffff81000000 t first", "ffffffff82000000 D data"];
        let (table, names) = parse(lines.iter().map(|line| (*line).to_owned()));
        Symbols { table, names, read: Some(Instant::now()), file: None }
    }

    #[test]
    fn an_address_is_named_by_the_function_that_holds_it() {
        let mut symbols = symbols();
        assert_eq!(symbols.name(0xffff_ffff_8100_0012).as_deref(), Some("first+0x12"));
        assert_eq!(symbols.name(0xffff_ffff_8100_1000).as_deref(), Some("second+0x0"));
    }

    #[test]
    fn an_address_of_no_function_has_no_name() {
        let mut symbols = symbols();
        assert_eq!(symbols.name(0xffff_ffff_8000_0000), None);
        assert_eq!(symbols.name(0xffff_ffff_8200_0010), None);
    }

    #[test]
    fn hidden_addresses_are_no_names() {
        let (table, _) = parse(["0000000000000000 T first".to_owned()].into_iter());
        assert!(table.is_empty());
    }
}
