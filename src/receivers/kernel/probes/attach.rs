//! Loads the object and attaches its programs one by one: what one hook lacks, another need not suffer.

use std::fmt;
use std::io;

use aya::{Btf, Endianness};

use super::btf::KernelTypes;
use super::hooks::{Hook, Variant, choose};
use super::object::Loaded;
use super::reasons::Reasons;
use super::report::{HookReport, State};
use super::standing::{Outcome, Standing, Step};
use super::units::{Unit, unit_of, usual_hooks};
use crate::receivers::kernel::attribution::Attribution;
use crate::receivers::kernel::decode::symbols::Symbols;
use crate::receivers::kernel::events::host::Host;
use crate::receivers::kernel::reader::gaps::{self, Counters};
use crate::receivers::kernel::settings::Settings;

/// The kernel's own types.
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// The attached hooks and what became of each.
pub struct Probes {
    pub(crate) settings: Settings,
    pub(crate) host: Host,
    pub(crate) standing: Standing,
    pub(crate) first: Step,
    pub(in crate::receivers::kernel) attribution: Attribution,
    pub(crate) symbols: Symbols,
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes").field("standing", &self.standing).finish_non_exhaustive()
    }
}

impl Probes {
    /// One report for each kernel event: its main hook, with what its helping hooks lack.
    #[must_use]
    pub fn reports(&self) -> &[HookReport] {
        self.standing.reports()
    }

    /// The hooks that add to events: not counted among the events' hooks.
    #[must_use]
    pub fn helpers(&self) -> &[HookReport] {
        self.standing.helpers()
    }

    /// How many events have a working hook.
    #[must_use]
    pub fn attached(&self) -> usize {
        self.reports().iter().filter(|report| report.state.works()).count()
    }

    /// The counters of a hook by its name (`tp_btf/kfree_skb`), since it was attached. None for an unknown hook, or where
    /// nothing could be loaded.
    #[must_use]
    pub fn counters(&self, hook: &str) -> Option<Counters> {
        let hook = Hook::ALL.into_iter().find(|candidate| candidate.counts() && candidate.name() == hook)?;
        gaps::counters(&self.first.loaded.as_ref()?.counters, hook)
    }

    /// How many events are wanted.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.reports().iter().filter(|report| report.state != State::Disabled).count()
    }
}

/// Attaches what `settings` want and the kernel allows. Never fails as a whole: the reports say what became of each
/// hook. Call it on the main thread before privileges are dropped and before the async runtime starts.
#[must_use]
pub fn attach(settings: &Settings) -> Probes {
    let mut standing = Standing::default();
    let first = standing.change(settings);
    // After the hooks, so that no birth of a cgroup falls between.
    let attribution = if first.loaded.is_some() { Attribution::walk() } else { Attribution::default() };
    let symbols = Symbols::open();
    Probes { settings: settings.clone(), host: Host::read(), standing, first, attribution, symbols }
}

/// What came of attaching the hooks of some units.
pub(crate) struct Attempt {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) loaded: Option<Loaded>,
    pub(crate) reasons: Reasons,
}

impl Attempt {
    /// Takes a hook back.
    pub(crate) fn detach(&mut self, hook: Hook) {
        if let Some(loaded) = &mut self.loaded {
            loaded.detach(hook);
        }
    }
}

/// Loads the object with these settings and attaches the hooks of these units.
pub(crate) fn attempt(settings: &Settings, units: &[Unit]) -> Attempt {
    let btf = std::fs::read(BTF);
    let types = btf.as_deref().ok().and_then(KernelTypes::parse);
    let reasons = types.as_ref().map(Reasons::read).unwrap_or_default();
    let mut attacher = Attacher { settings, types: types.as_ref(), outcomes: Vec::new() };
    let loaded = attacher.run(units, btf.as_deref(), &reasons);
    let outcomes = attacher.outcomes;
    Attempt { outcomes, loaded, reasons }
}

struct Attacher<'a> {
    settings: &'a Settings,
    types: Option<&'a KernelTypes<'a>>,
    outcomes: Vec<Outcome>,
}

impl Attacher<'_> {
    fn run(&mut self, units: &[Unit], btf: Result<&[u8], &io::Error>, reasons: &Reasons) -> Option<Loaded> {
        let wanted: Vec<Hook> = Hook::ALL.into_iter().filter(|hook| self.wants(units, *hook)).collect();
        let parsed = match btf {
            Ok(btf) => self.types.and_then(|_| Btf::parse(btf, Endianness::default()).ok()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.give_up(&wanted, |unit, hook| {
                    let report = HookReport::refused(unit, hook, error).fix(format!("must be able to read {BTF}"));
                    HookReport { state: State::Denied, ..report }
                });
                return None;
            }
            Err(_) => None,
        };
        let Some(parsed) = parsed else {
            self.give_up(&wanted, |unit, hook| {
                let report = HookReport::new(unit, hook, State::Missing).error_type("no_btf");
                report.fix(format!("needs a kernel built with CONFIG_DEBUG_INFO_BTF=y ({BTF})"))
            });
            return None;
        };
        let mut loaded = match Loaded::load(self.settings, &parsed) {
            Ok(loaded) => loaded,
            Err(error) => {
                self.give_up(&wanted, |unit, hook| HookReport::refused(unit, hook, error.as_ref()));
                return None;
            }
        };
        // Before the hook is attached: a benign reason must not be recorded once either.
        let ignored = reasons.ignored(&self.settings.packet_drop.ignore_reasons);
        if let Err(error) = loaded.ignore_reasons(&ignored) {
            tracing::warn!(%error, "every drop reason is recorded, also the benign ones");
        }
        for hook in wanted {
            self.attach_one(&mut loaded, &parsed, hook);
        }
        Some(loaded)
    }

    fn give_up(&mut self, wanted: &[Hook], report: impl Fn(Unit, Hook) -> HookReport) {
        let outcome = |hook: &Hook| Outcome { hook: *hook, variant: None, report: report(unit_of(*hook), *hook) };
        self.outcomes.extend(wanted.iter().map(outcome));
    }

    fn attach_one(&mut self, loaded: &mut Loaded, btf: &Btf, hook: Hook) {
        let unit = unit_of(hook);
        let variant = self.variant(hook);
        let report = match variant.map(|variant| loaded.attach(btf, hook, variant)) {
            None => self.no_variant(hook),
            Some(Ok(())) => HookReport::new(unit, hook, State::Attached),
            Some(Err(error)) => HookReport::refused(unit, hook, error.as_ref()),
        };
        self.outcomes.push(Outcome { hook, variant, report });
    }

    /// The program for this kernel's argument list.
    fn variant(&self, hook: Hook) -> Option<&'static Variant> {
        if hook == Hook::IterTask {
            return hook.variants().first();
        }
        choose(hook.variants(), &self.types?.tracepoint(hook.target())?)
    }

    fn no_variant(&self, hook: Hook) -> HookReport {
        let report = HookReport::new(unit_of(hook), hook, State::Missing);
        match self.types.and_then(|types| types.tracepoint(hook.target())) {
            None => report.error_type("no_tracepoint").fix("this kernel is built without the tracepoint"),
            Some(arguments) => report
                .error_type("unknown_arguments")
                .fix(format!("a newer tidegate: its arguments here are ({})", arguments.join(", "))),
        }
    }

    fn wants(&self, units: &[Unit], hook: Hook) -> bool {
        let tells_only_a_pid = |variant: &Variant| variant.program == "mark_victim_pid";
        let unit = unit_of(hook);
        let serves_here = || match hook {
            Hook::SignalGenerate => self.variant(Hook::MarkVictim).is_some_and(tells_only_a_pid),
            _ => usual_hooks(unit).any(|usual| usual == hook),
        };
        units.contains(&unit) && serves_here()
    }
}
