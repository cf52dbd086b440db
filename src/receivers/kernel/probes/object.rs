//! The compiled programs: what is loaded of them, and the ways from there to the agent.

use std::error::Error;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use aya::maps::{Array, MapData, PerCpuArray, RingBuf};
use aya::programs::{BtfTracePoint, Iter, Program};
use aya::{Btf, Ebpf, EbpfLoader};

use super::hooks::{COUNTING, Hook, Variant};
use super::list;
use super::units::event_settings;
use crate::receivers::kernel::decode::hung::Blocked;
use crate::receivers::kernel::events::catalogue::Kind;
use crate::receivers::kernel::settings::Settings;

/// The compiled programs. `ebpf/MANIFEST` says from what and by what.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../../ebpf/tidegate.bpf.o");

/// Crashes of one executable in a second that are recorded; the rest are counted.
const CRASHES_PER_EXECUTABLE: u32 = 10;

/// One loading of the object: its own maps, and those of its programs that are attached.
pub(crate) struct Loaded {
    ebpf: Ebpf,
    attached: Vec<Attached>,
    pub(crate) rings: Rings,
    pub(crate) counters: PerCpuArray<MapData, [u64; 5]>,
}

/// A program in the kernel.
struct Attached {
    hook: Hook,
    program: &'static str,
    /// Owned by the object.
    fd: RawFd,
}

/// The ways from the kernel to the agent.
pub(crate) struct Rings {
    pub(crate) urgent: RingBuf<MapData>,
    pub(crate) bulk: RingBuf<MapData>,
    pub(crate) cgroups: RingBuf<MapData>,
}

impl Loaded {
    /// Makes the maps and relocates every program; none is in the kernel yet.
    pub(crate) fn load(settings: &Settings, btf: &Btf) -> Result<Self, Box<dyn Error>> {
        let mut ebpf = load(settings, btf)?;
        let mut take = |name: &str| ebpf.take_map(name).ok_or("the object lacks a map");
        let rings = Rings {
            urgent: RingBuf::try_from(take("urgent")?)?,
            bulk: RingBuf::try_from(take("bulk")?)?,
            cgroups: RingBuf::try_from(take("cgroups")?)?,
        };
        let counters = PerCpuArray::try_from(take("counters")?)?;
        Ok(Self { ebpf, attached: Vec::new(), rings, counters })
    }

    /// Loads one program and attaches it. The task iterator is attached anew for each listing.
    pub(crate) fn attach(&mut self, btf: &Btf, hook: Hook, variant: &'static Variant) -> Result<(), Box<dyn Error>> {
        let program = self.ebpf.program_mut(variant.program).ok_or("the object lacks the program")?;
        let fd = if hook == Hook::IterTask {
            let program: &mut Iter = program.try_into()?;
            program.load(hook.target(), btf)?;
            program.fd()?.as_fd().as_raw_fd()
        } else {
            let program: &mut BtfTracePoint = program.try_into()?;
            program.load(hook.target(), btf)?;
            program.attach()?;
            program.fd()?.as_fd().as_raw_fd()
        };
        self.attached.push(Attached { hook, program: variant.program, fd });
        Ok(())
    }

    /// Takes one program out of the kernel. What it wrote stays in the rings.
    pub(crate) fn detach(&mut self, hook: Hook) {
        let Some(at) = self.attached.iter().position(|attached| attached.hook == hook) else { return };
        let name = self.attached.swap_remove(at).program;
        let result = match self.ebpf.program_mut(name) {
            Some(Program::BtfTracePoint(program)) => program.unload(),
            Some(Program::Iter(program)) => program.unload(),
            _ => return,
        };
        if let Err(error) = result {
            tracing::error!(hook = hook.name(), %error, "the program may still be attached");
        }
    }

    /// Whether this hook's program is attached from here.
    pub(crate) fn has(&self, hook: Hook) -> bool {
        self.attached.iter().any(|attached| attached.hook == hook)
    }

    /// The hooks whose programs are attached.
    pub(crate) fn hooks(&self) -> Vec<Hook> {
        self.attached.iter().map(|attached| attached.hook).collect()
    }

    /// The attached programs' descriptors.
    pub(crate) fn programs(&self) -> impl Iterator<Item = (Hook, RawFd)> + '_ {
        self.attached.iter().map(|attached| (attached.hook, attached.fd))
    }

    /// The tasks that are blocked now; None where the iterator is not loaded or the kernel refuses.
    pub(crate) fn blocked_tasks(&mut self) -> Option<Vec<Blocked>> {
        list::blocked(&mut self.ebpf)
    }

    /// Tells the drop program which reasons it only counts.
    pub(crate) fn ignore_reasons(&mut self, reasons: &[u32]) -> Result<(), Box<dyn Error>> {
        let map = self.ebpf.map_mut("drop_ignored").ok_or("the object lacks the map drop_ignored")?;
        let mut ignored = Array::<_, u8>::try_from(map)?;
        for reason in reasons {
            ignored.set(*reason, 1, 0)?;
        }
        Ok(())
    }
}

fn load(settings: &Settings, btf: &Btf) -> Result<Ebpf, aya::EbpfError> {
    let mut limits = [0_u32; COUNTING];
    for hook in Hook::ALL.into_iter().filter(|hook| hook.counts()) {
        if let Some(kind) = Kind::of_hook(hook) {
            limits[hook as usize] = event_settings(settings, kind).max_per_second;
        }
    }
    EbpfLoader::new()
        .btf(Some(btf))
        .map_max_entries("urgent", settings.rings.urgent)
        .map_max_entries("bulk", settings.rings.bulk)
        .map_max_entries("cgroups", settings.rings.cgroups)
        .override_global("max_per_second", limits.as_slice(), true)
        .override_global("drop_stacks", &u8::from(settings.packet_drop.stacks), true)
        .override_global("hung_stacks", &u8::from(settings.task_hung.stacks), true)
        .override_global("crash_stacks", &u8::from(settings.crash_stacks), true)
        .override_global("crash_command_line", &u8::from(settings.command_line), true)
        .override_global("crash_max_per_executable", &CRASHES_PER_EXECUTABLE, true)
        .load(OBJECT)
}
