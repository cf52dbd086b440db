//! The tasks that are blocked now, listed by an iterator program.

use std::io::Read;

use aya::Ebpf;
use aya::programs::{Iter, Program};

use crate::receivers::kernel::decode::hung::Blocked;

/// A listing is cut here: thousands of tasks are as telling as all.
const LISTING: u64 = 1 << 20;

/// Lists them; None where the program is not loaded or the kernel refuses.
pub(crate) fn blocked(ebpf: &mut Ebpf) -> Option<Vec<Blocked>> {
    let program: &mut Program = ebpf.program_mut("list_tasks")?;
    let program: &mut Iter = program.try_into().ok()?;
    let link = program.attach().ok()?;
    let file = program.take_link(link).ok()?.into_file().ok()?;
    let mut bytes = Vec::new();
    file.take(LISTING).read_to_end(&mut bytes).ok()?;
    Some(Blocked::parse_all(&bytes))
}
