//! The compiled programs: what is loaded of them, and the ways from there to the agent.

use std::error::Error;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use aya::maps::{Array, MapData, PerCpuArray, RingBuf};
use aya::programs::{BtfTracePoint, Iter, Program};
use aya::{Btf, Ebpf, EbpfLoader};

use super::attach::event_settings;
use super::attribution::Attribution;
use super::attribution::cgroup::CgroupMap;
use super::catalogue::Kind;
use super::hooks::{COUNTING, Hook, Variant};
use super::reasons::Reasons;
use super::settings::Settings;
use super::symbols::Symbols;

/// The compiled programs. `ebpf/MANIFEST` says from what and by what.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../ebpf/tidegate.bpf.o");

/// Crashes of one executable in a second that are recorded; the rest are counted.
const CRASHES_PER_EXECUTABLE: u32 = 10;

/// What exists where at least the maps could be made.
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    /// The attached programs' descriptors, which `ebpf` owns.
    pub(super) programs: Vec<(Hook, RawFd)>,
    pub(super) rings: Rings,
    pub(super) counters: PerCpuArray<MapData, [u64; 5]>,
    pub(super) attribution: Attribution,
    pub(super) reasons: Reasons,
    pub(super) symbols: Symbols,
}

impl Loaded {
    /// Takes the maps; None where the object lacks one, which a test of this crate would have found.
    pub(super) fn new(mut ebpf: Ebpf, programs: Vec<(Hook, RawFd)>, reasons: Reasons) -> Option<Self> {
        let mut ring = |name: &str| RingBuf::try_from(ebpf.take_map(name)?).ok();
        let rings = Rings { urgent: ring("urgent")?, bulk: ring("bulk")?, cgroups: ring("cgroups")? };
        let counters = PerCpuArray::try_from(ebpf.take_map("counters")?).ok()?;
        let attribution = Attribution { cgroups: CgroupMap::walk() };
        Some(Self { ebpf, programs, rings, counters, attribution, reasons, symbols: Symbols::open() })
    }
}

/// The ways from the kernel to the agent.
pub(super) struct Rings {
    pub(super) urgent: RingBuf<MapData>,
    pub(super) bulk: RingBuf<MapData>,
    pub(super) cgroups: RingBuf<MapData>,
}

/// Makes the maps and relocates every program; none is in the kernel yet.
pub(super) fn load(settings: &Settings, btf: &Btf) -> Result<Ebpf, aya::EbpfError> {
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
        .override_global("crash_command_line", &u8::from(settings.command_line), true)
        .override_global("crash_max_per_executable", &CRASHES_PER_EXECUTABLE, true)
        .load(OBJECT)
}

/// Loads one program and attaches it; its descriptor. The task iterator is attached anew for each listing.
pub(super) fn attach(ebpf: &mut Ebpf, btf: &Btf, hook: Hook, variant: &Variant) -> Result<RawFd, Box<dyn Error>> {
    let program: &mut Program = ebpf.program_mut(variant.program).ok_or("the object lacks the program")?;
    if hook == Hook::IterTask {
        let program: &mut Iter = program.try_into()?;
        program.load(hook.target(), btf)?;
        return Ok(program.fd()?.as_fd().as_raw_fd());
    }
    let program: &mut BtfTracePoint = program.try_into()?;
    program.load(hook.target(), btf)?;
    program.attach()?;
    Ok(program.fd()?.as_fd().as_raw_fd())
}

/// Tells the drop program which reasons it only counts.
pub(super) fn ignore_reasons(ebpf: &mut Ebpf, reasons: &[u32]) -> Result<(), Box<dyn Error>> {
    let map = ebpf.map_mut("drop_ignored").ok_or("the object lacks the map drop_ignored")?;
    let mut ignored = Array::<_, u8>::try_from(map)?;
    for reason in reasons {
        ignored.set(*reason, 1, 0)?;
    }
    Ok(())
}
