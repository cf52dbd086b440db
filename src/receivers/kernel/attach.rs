//! Loads the object and attaches its programs one by one: what one hook lacks, another need not suffer.

use std::error::Error;
use std::fmt;

use aya::maps::{Array, MapData, PerCpuArray, RingBuf};
use aya::programs::{BtfTracePoint, Iter, Program};
use aya::{Btf, Ebpf, EbpfLoader, Endianness};

use super::attribution::Attribution;
use super::attribution::cgroup::CgroupMap;
use super::btf::KernelTypes;
use super::catalogue::Kind;
use super::gaps::Counters;
use super::hooks::{COUNTING, Hook, Variant, choose};
use super::host::Host;
use super::reasons::Reasons;
use super::report::{HookReport, State};
use super::settings::{EventSettings, Settings};
use super::symbols::Symbols;

/// The compiled programs. `ebpf/MANIFEST` says from what and by what.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../ebpf/tidegate.bpf.o");

/// Crashes of one executable in a second that are recorded; the rest are counted.
const CRASHES_PER_EXECUTABLE: u32 = 10;

/// The attached hooks and what became of each.
pub struct Probes {
    pub(super) settings: Settings,
    pub(super) host: Host,
    pub(super) loaded: Option<Loaded>,
    reports: Vec<HookReport>,
    helpers: Vec<HookReport>,
}

/// What exists where at least the maps could be made.
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    pub(super) rings: Rings,
    pub(super) counters: PerCpuArray<MapData, [u64; 5]>,
    pub(super) attribution: Attribution,
    pub(super) reasons: Reasons,
    pub(super) symbols: Symbols,
}

/// The ways from the kernel to the agent.
pub(super) struct Rings {
    pub(super) urgent: RingBuf<MapData>,
    pub(super) bulk: RingBuf<MapData>,
    pub(super) cgroups: RingBuf<MapData>,
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes").field("reports", &self.reports).field("helpers", &self.helpers).finish_non_exhaustive()
    }
}

impl Probes {
    /// One report for each kernel event: its main hook, with what its helping hooks lack.
    #[must_use]
    pub fn reports(&self) -> &[HookReport] {
        &self.reports
    }

    /// The hooks that add to events: not counted among the events' hooks.
    #[must_use]
    pub fn helpers(&self) -> &[HookReport] {
        &self.helpers
    }

    /// How many events have a working hook.
    #[must_use]
    pub fn attached(&self) -> usize {
        self.reports.iter().filter(|report| report.state.works()).count()
    }

    /// The counters of a hook by its name (`tp_btf/kfree_skb`), since it was attached. None for an unknown hook, or where
    /// nothing could be loaded.
    #[must_use]
    pub fn counters(&self, hook: &str) -> Option<Counters> {
        let hook = Hook::ALL.into_iter().find(|candidate| candidate.counts() && candidate.name() == hook)?;
        super::gaps::counters(&self.loaded.as_ref()?.counters, hook)
    }

    /// How many events are wanted.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.reports.iter().filter(|report| report.state != State::Disabled).count()
    }
}

/// Attaches what `settings` want and the kernel allows. Never fails as a whole: the reports say what became of each
/// hook. Call it on the main thread before privileges are dropped and before the async runtime starts.
#[must_use]
pub fn attach(settings: &Settings) -> Probes {
    let btf = std::fs::read("/sys/kernel/btf/vmlinux").unwrap_or_default();
    let types = KernelTypes::parse(&btf);
    let mut attacher = Attacher { settings, types: types.as_ref(), results: Vec::new() };
    let loaded = attacher.run(&btf);
    let reports = Kind::KERNEL.into_iter().map(|kind| attacher.event_report(kind)).collect();
    let helpers = attacher.helper_reports();
    Probes { settings: settings.clone(), host: Host::read(), loaded, reports, helpers }
}

struct Attacher<'a> {
    settings: &'a Settings,
    types: Option<&'a KernelTypes<'a>>,
    results: Vec<(HookReport, Hook, Option<&'static Variant>)>,
}

impl Attacher<'_> {
    fn run(&mut self, btf: &[u8]) -> Option<Loaded> {
        let wanted: Vec<Hook> = Hook::ALL.into_iter().filter(|hook| self.wants(*hook)).collect();
        if wanted.is_empty() {
            return None;
        }
        let parsed = self.types.and_then(|_| Btf::parse(btf, Endianness::default()).ok());
        let Some(parsed) = parsed else {
            self.give_up(&wanted, |kind, hook| {
                let report = HookReport::new(kind, hook, State::Missing).error_type("no_btf");
                report.fix("needs a kernel built with CONFIG_DEBUG_INFO_BTF=y (/sys/kernel/btf/vmlinux)")
            });
            return None;
        };
        let mut ebpf = match load(self.settings, &parsed) {
            Ok(ebpf) => ebpf,
            Err(error) => {
                self.give_up(&wanted, |kind, hook| HookReport::refused(kind, hook, &error));
                return None;
            }
        };
        let reasons = self.types.map(Reasons::read).unwrap_or_default();
        // Before the hook is attached: a benign reason must not be recorded once either.
        if let Err(error) = ignore_reasons(&mut ebpf, &reasons.ignored(&self.settings.packet_drop.ignore_reasons)) {
            tracing::warn!(%error, "every drop reason is recorded, also the benign ones");
        }
        for hook in wanted {
            let result = self.attach_one(&mut ebpf, &parsed, hook);
            self.results.push(result);
        }
        take_maps(ebpf, reasons)
    }

    fn give_up(&mut self, wanted: &[Hook], report: impl Fn(Option<Kind>, Hook) -> HookReport) {
        self.results.extend(wanted.iter().map(|hook| (report(serves(*hook), *hook), *hook, None)));
    }

    fn attach_one(&self, ebpf: &mut Ebpf, btf: &Btf, hook: Hook) -> (HookReport, Hook, Option<&'static Variant>) {
        let kind = serves(hook);
        let Some(variant) = self.variant(hook) else {
            return (self.no_variant(hook), hook, None);
        };
        let report = match attach_program(ebpf, btf, hook, variant) {
            Ok(()) => HookReport::new(kind, hook, State::Attached),
            Err(error) => HookReport::refused(kind, hook, error.as_ref()),
        };
        (report, hook, Some(variant))
    }

    /// The program for this kernel's argument list.
    fn variant(&self, hook: Hook) -> Option<&'static Variant> {
        if hook == Hook::IterTask {
            return hook.variants().first();
        }
        choose(hook.variants(), &self.types?.tracepoint(hook.target())?)
    }

    fn no_variant(&self, hook: Hook) -> HookReport {
        match self.types.and_then(|types| types.tracepoint(hook.target())) {
            None => HookReport::new(serves(hook), hook, State::Missing)
                .error_type("no_tracepoint")
                .fix("this kernel is built without the tracepoint"),
            Some(arguments) => HookReport::new(serves(hook), hook, State::Missing)
                .error_type("unknown_arguments")
                .fix(format!("a newer tidegate: its arguments here are ({})", arguments.join(", "))),
        }
    }

    fn wants(&self, hook: Hook) -> bool {
        let any = || Kind::KERNEL.into_iter().any(|kind| event_settings(self.settings, kind).enabled);
        match hook {
            Hook::CgroupMkdir | Hook::CgroupRmdir => any(),
            Hook::SignalGenerate => {
                self.settings.oom_kill.enabled
                    && self.variant(Hook::MarkVictim).is_some_and(|variant| variant.program == "mark_victim_pid")
            }
            _ => serves(hook).is_some_and(|kind| event_settings(self.settings, kind).enabled),
        }
    }

    fn event_report(&self, kind: Kind) -> HookReport {
        let Some(hook) = kind.hook() else { unreachable!("only kernel events are reported") };
        let Some((report, _, variant)) = self.results.iter().find(|(_, of, _)| *of == hook) else {
            return HookReport::new(Some(kind), hook, State::Disabled);
        };
        let mut report = report.clone();
        let lacks: Vec<String> = self.lacks(kind, *variant);
        if report.state == State::Attached && !lacks.is_empty() {
            report.state = State::Fallback;
            report.fallback = Some(lacks.join("; "));
        }
        report
    }

    /// What the event lacks on this kernel.
    fn lacks(&self, kind: Kind, variant: Option<&Variant>) -> Vec<String> {
        let mut lacks = Vec::new();
        match variant.map(|variant| variant.program) {
            Some("mark_victim_pid") => lacks.push("the victim is taken from tp_btf/signal_generate".to_owned()),
            Some("kfree_skb_bare") => lacks.push("without reasons, which this kernel does not tell".to_owned()),
            _ => {}
        }
        for (helper, without) in kind.helpers() {
            let report = self.results.iter().find(|(_, hook, _)| hook == helper).map(|(report, _, _)| report);
            if let Some(report) = report.filter(|report| !report.state.works()) {
                lacks.push(format!("{without}: {} is {}", helper.name(), report.state));
            }
        }
        lacks
    }

    fn helper_reports(&self) -> Vec<HookReport> {
        let main: Vec<_> = Kind::KERNEL.into_iter().filter_map(Kind::hook).collect();
        let helping = self.results.iter().filter(|(_, hook, _)| !main.contains(hook));
        helping.map(|(report, _, _)| report.clone()).collect()
    }
}

/// The event that a hook serves; None: all of them.
fn serves(hook: Hook) -> Option<Kind> {
    let helped = |kind: &Kind| kind.helpers().iter().any(|(helper, _)| *helper == hook);
    match hook {
        Hook::SignalGenerate => Some(Kind::OomKill),
        _ => Kind::of_hook(hook).or_else(|| Kind::KERNEL.into_iter().find(helped)),
    }
}

/// The common settings of a kernel event.
fn event_settings(settings: &Settings, kind: Kind) -> &EventSettings {
    match kind {
        Kind::OomKill => &settings.oom_kill,
        Kind::ProcessCrash | Kind::ProbeState | Kind::Loss => &settings.process_crash,
        Kind::TcpRetransmit => &settings.tcp_retransmit,
        Kind::PacketDrop => &settings.packet_drop.event,
        Kind::TaskHung => &settings.task_hung.event,
    }
}

/// Makes the maps and relocates every program; none is in the kernel yet.
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
        .override_global("crash_command_line", &u8::from(settings.command_line), true)
        .override_global("crash_max_per_executable", &CRASHES_PER_EXECUTABLE, true)
        .load(OBJECT)
}

fn attach_program(ebpf: &mut Ebpf, btf: &Btf, hook: Hook, variant: &Variant) -> Result<(), Box<dyn Error>> {
    let program: &mut Program = ebpf.program_mut(variant.program).ok_or("the object lacks the program")?;
    if hook == Hook::IterTask {
        let program: &mut Iter = program.try_into()?;
        return Ok(program.load(hook.target(), btf)?);
    }
    let program: &mut BtfTracePoint = program.try_into()?;
    program.load(hook.target(), btf)?;
    program.attach()?;
    Ok(())
}

fn ignore_reasons(ebpf: &mut Ebpf, reasons: &[u32]) -> Result<(), Box<dyn Error>> {
    let map = ebpf.map_mut("drop_ignored").ok_or("the object lacks the map drop_ignored")?;
    let mut ignored = Array::<_, u8>::try_from(map)?;
    for reason in reasons {
        ignored.set(*reason, 1, 0)?;
    }
    Ok(())
}

fn take_maps(mut ebpf: Ebpf, reasons: Reasons) -> Option<Loaded> {
    let mut ring = |name: &str| RingBuf::try_from(ebpf.take_map(name)?).ok();
    let rings = Rings { urgent: ring("urgent")?, bulk: ring("bulk")?, cgroups: ring("cgroups")? };
    let counters = PerCpuArray::try_from(ebpf.take_map("counters")?).ok()?;
    let attribution = Attribution { cgroups: CgroupMap::walk() };
    Some(Loaded { ebpf, rings, counters, attribution, reasons, symbols: Symbols::open() })
}
