//! The compiled programs: what is loaded of them, and the ways from there to the agent.

use std::error::Error;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aya::maps::{Array, MapData, PerCpuArray, RingBuf};
use aya::programs::tp_btf::BtfTracePointLink;
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
    leaving: Vec<Leaving>,
    pub(crate) rings: Rings,
    pub(crate) counters: PerCpuArray<MapData, [u64; 5]>,
}

/// A program in the kernel.
struct Attached {
    hook: Hook,
    program: &'static str,
    /// Owned by the object.
    fd: RawFd,
    /// The task iterator has none.
    link: Option<BtfTracePointLink>,
}

/// Programs that are being detached, or were and are still loaded.
struct Leaving {
    programs: Vec<Attached>,
    is_detached: Arc<AtomicBool>,
    /// Seen to be so: what it counted is final.
    is_out: bool,
}

/// Says that programs are detached, however their detaching ended.
struct Detached {
    is_detached: Arc<AtomicBool>,
    wake: Arc<OwnedFd>,
}

impl Drop for Detached {
    fn drop(&mut self) {
        self.is_detached.store(true, Ordering::Release);
        // It fails when so many wake-ups are unread already that one more says nothing.
        rustix::io::write(&self.wake, &1_u64.to_ne_bytes()).unwrap_or_default();
    }
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
        Ok(Self { ebpf, attached: Vec::new(), leaving: Vec::new(), rings, counters })
    }

    /// Loads one program and attaches it. The task iterator is attached anew for each listing.
    pub(crate) fn attach(&mut self, btf: &Btf, hook: Hook, variant: &'static Variant) -> Result<(), Box<dyn Error>> {
        let program = self.ebpf.program_mut(variant.program).ok_or("the object lacks the program")?;
        let (fd, link) = if hook == Hook::IterTask {
            let program: &mut Iter = program.try_into()?;
            program.load(hook.target(), btf)?;
            (program.fd()?.as_fd().as_raw_fd(), None)
        } else {
            let program: &mut BtfTracePoint = program.try_into()?;
            program.load(hook.target(), btf)?;
            let link = program.attach()?;
            let link = program.take_link(link)?;
            (program.fd()?.as_fd().as_raw_fd(), Some(link))
        };
        self.attached.push(Attached { hook, program: variant.program, fd, link });
        Ok(())
    }

    /// Takes one program out of the kernel. What it wrote stays in the rings.
    pub(crate) fn detach(&mut self, hook: Hook) {
        let Some(at) = self.attached.iter().position(|attached| attached.hook == hook) else { return };
        let attached = self.attached.swap_remove(at);
        drop(attached.link);
        unload(&mut self.ebpf, hook, attached.program);
    }

    /// Begins to take programs out of the kernel. It waits until no CPU runs them, on some machines for seconds, in which
    /// the rings must be read: so another thread does it, and writes to `wake` at the end.
    pub(crate) fn leave(&mut self, hooks: &[Hook], wake: &Arc<OwnedFd>) {
        let mut programs: Vec<Attached> = self.attached.extract_if(.., |a| hooks.contains(&a.hook)).collect();
        if programs.is_empty() {
            return;
        }
        let links: Vec<BtfTracePointLink> = programs.iter_mut().filter_map(|program| program.link.take()).collect();
        let is_detached = Arc::new(AtomicBool::new(false));
        let detached = Detached { is_detached: is_detached.clone(), wake: wake.clone() };
        let detach = move || {
            drop(links);
            drop(detached);
        };
        if let Err(error) = std::thread::Builder::new().name("detach".into()).spawn(detach) {
            // The links went with what was to run on the thread: it is done, and the rings were not read meanwhile.
            tracing::debug!(%error, "no thread to detach programs on");
        }
        self.leaving.push(Leaving { programs, is_detached, is_out: false });
    }

    /// Whether programs that left are out and were not unloaded yet: until then their descriptors can be asked.
    pub(crate) fn has_detached(&mut self) -> bool {
        for leaving in &mut self.leaving {
            leaving.is_out = leaving.is_detached.load(Ordering::Acquire);
        }
        self.leaving.iter().any(|leaving| leaving.is_out)
    }

    /// Unloads the programs that were out when that was asked last.
    pub(crate) fn unload_detached(&mut self) {
        for left in self.leaving.extract_if(.., |leaving| leaving.is_out) {
            for attached in left.programs {
                unload(&mut self.ebpf, attached.hook, attached.program);
            }
        }
    }

    /// Whether no program of it is attached any more.
    pub(crate) fn is_out(&self) -> bool {
        self.attached.is_empty() && self.leaving.is_empty()
    }

    /// Whether this hook's program is attached from here.
    pub(crate) fn has(&self, hook: Hook) -> bool {
        self.attached.iter().any(|attached| attached.hook == hook)
    }

    /// The hooks whose programs are attached.
    pub(crate) fn hooks(&self) -> Vec<Hook> {
        self.attached.iter().map(|attached| attached.hook).collect()
    }

    /// The loaded programs' descriptors.
    pub(crate) fn programs(&self) -> impl Iterator<Item = (Hook, RawFd)> + '_ {
        let leaving = self.leaving.iter().flat_map(|leaving| &leaving.programs);
        self.attached.iter().chain(leaving).map(|attached| (attached.hook, attached.fd))
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

fn unload(ebpf: &mut Ebpf, hook: Hook, program: &str) {
    let result = match ebpf.program_mut(program) {
        Some(Program::BtfTracePoint(program)) => program.unload(),
        Some(Program::Iter(program)) => program.unload(),
        _ => return,
    };
    if let Err(error) = result {
        tracing::error!(hook = hook.name(), %error, "the program may still be loaded");
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
