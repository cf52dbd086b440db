//! Loads the object and attaches its programs one by one: what one hook lacks, another need not suffer.

use std::fmt;
use std::io;
use std::os::fd::RawFd;

use aya::{Btf, Ebpf, Endianness};

use super::btf::KernelTypes;
use super::catalogue::Kind;
use super::gaps::{self, Counters};
use super::hooks::{Hook, Variant, choose};
use super::host::Host;
use super::object::{self, Loaded};
use super::reasons::Reasons;
use super::report::{HookReport, State};
use super::settings::{EventSettings, Settings};

/// The kernel's own types.
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// The attached hooks and what became of each.
pub struct Probes {
    pub(super) settings: Settings,
    pub(super) host: Host,
    pub(super) loaded: Option<Loaded>,
    reports: Vec<HookReport>,
    helpers: Vec<HookReport>,
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
        gaps::counters(&self.loaded.as_ref()?.counters, hook)
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
    let btf = std::fs::read(BTF);
    let types = btf.as_deref().ok().and_then(KernelTypes::parse);
    let mut attacher = Attacher { settings, types: types.as_ref(), outcomes: Vec::new() };
    let loaded = attacher.run(btf.as_deref());
    let main = Kind::KERNEL.into_iter().filter_map(|kind| Some((kind, kind.hook()?)));
    let reports = main.map(|(kind, hook)| attacher.event_report(kind, hook)).collect();
    let helpers = attacher.helper_reports();
    Probes { settings: settings.clone(), host: Host::read(), loaded, reports, helpers }
}

/// What became of one hook.
struct Outcome {
    hook: Hook,
    variant: Option<&'static Variant>,
    report: HookReport,
}

struct Attacher<'a> {
    settings: &'a Settings,
    types: Option<&'a KernelTypes<'a>>,
    outcomes: Vec<Outcome>,
}

impl Attacher<'_> {
    fn run(&mut self, btf: Result<&[u8], &io::Error>) -> Option<Loaded> {
        let wanted: Vec<Hook> = Hook::ALL.into_iter().filter(|hook| self.wants(*hook)).collect();
        if wanted.is_empty() {
            return None;
        }
        let parsed = match btf {
            Ok(btf) => self.types.and_then(|_| Btf::parse(btf, Endianness::default()).ok()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.give_up(&wanted, |kind, hook| {
                    let report = HookReport::refused(kind, hook, error).fix(format!("must be able to read {BTF}"));
                    HookReport { state: State::Denied, ..report }
                });
                return None;
            }
            Err(_) => None,
        };
        let Some(parsed) = parsed else {
            self.give_up(&wanted, |kind, hook| {
                let report = HookReport::new(kind, hook, State::Missing).error_type("no_btf");
                report.fix(format!("needs a kernel built with CONFIG_DEBUG_INFO_BTF=y ({BTF})"))
            });
            return None;
        };
        let mut ebpf = match object::load(self.settings, &parsed) {
            Ok(ebpf) => ebpf,
            Err(error) => {
                self.give_up(&wanted, |kind, hook| HookReport::refused(kind, hook, &error));
                return None;
            }
        };
        let reasons = self.types.map(Reasons::read).unwrap_or_default();
        // Before the hook is attached: a benign reason must not be recorded once either.
        let ignored = reasons.ignored(&self.settings.packet_drop.ignore_reasons);
        if let Err(error) = object::ignore_reasons(&mut ebpf, &ignored) {
            tracing::warn!(%error, "every drop reason is recorded, also the benign ones");
        }
        let mut programs = Vec::new();
        for hook in wanted {
            programs.extend(self.attach_one(&mut ebpf, &parsed, hook).map(|fd| (hook, fd)));
        }
        Loaded::new(ebpf, programs, reasons)
    }

    fn give_up(&mut self, wanted: &[Hook], report: impl Fn(Option<Kind>, Hook) -> HookReport) {
        let outcome = |hook: &Hook| Outcome { hook: *hook, variant: None, report: report(serves(*hook), *hook) };
        self.outcomes.extend(wanted.iter().map(outcome));
    }

    /// The attached program's descriptor.
    fn attach_one(&mut self, ebpf: &mut Ebpf, btf: &Btf, hook: Hook) -> Option<RawFd> {
        let kind = serves(hook);
        let variant = self.variant(hook);
        let attached = variant.map(|variant| object::attach(ebpf, btf, hook, variant));
        let report = match &attached {
            None => self.no_variant(hook),
            Some(Ok(_)) => HookReport::new(kind, hook, State::Attached),
            Some(Err(error)) => HookReport::refused(kind, hook, error.as_ref()),
        };
        self.outcomes.push(Outcome { hook, variant, report });
        attached?.ok()
    }

    fn outcome(&self, hook: Hook) -> Option<&Outcome> {
        self.outcomes.iter().find(|outcome| outcome.hook == hook)
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

    fn event_report(&self, kind: Kind, hook: Hook) -> HookReport {
        let Some(outcome) = self.outcome(hook) else {
            return HookReport::new(Some(kind), hook, State::Disabled);
        };
        let mut report = outcome.report.clone();
        let lacks = self.lacks(kind, outcome.variant);
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
            let state = self.outcome(*helper).map(|outcome| outcome.report.state);
            if let Some(state) = state.filter(|state| !state.works()) {
                lacks.push(format!("{without}: {} is {state}", helper.name()));
            }
        }
        lacks
    }

    fn helper_reports(&self) -> Vec<HookReport> {
        let helps = |outcome: &&Outcome| Kind::KERNEL.iter().all(|kind| kind.hook() != Some(outcome.hook));
        self.outcomes.iter().filter(helps).map(|outcome| outcome.report.clone()).collect()
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
pub(super) fn event_settings(settings: &Settings, kind: Kind) -> &EventSettings {
    match kind {
        Kind::OomKill => &settings.oom_kill,
        Kind::ProcessCrash | Kind::ProbeState | Kind::Loss => &settings.process_crash,
        Kind::TcpRetransmit => &settings.tcp_retransmit,
        Kind::PacketDrop => &settings.packet_drop.event,
        Kind::TaskHung => &settings.task_hung.event,
    }
}
