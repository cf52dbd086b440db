//! What is attached, what became of the rest, and how other settings change that.

use super::attach::{Attempt, attempt};
use super::hooks::{Hook, Variant};
use super::object::Loaded;
use super::reasons::Reasons;
use super::report::{HookReport, State};
use super::units::{Unit, at_load, is_wanted, main_hook, unit_of, units, usual_hooks};
use crate::receivers::kernel::events::catalogue::Kind;
use crate::receivers::kernel::settings::Settings;

/// What became of one hook.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub hook: Hook,
    pub variant: Option<&'static Variant>,
    pub report: HookReport,
}

impl Outcome {
    fn disabled(hook: Hook) -> Self {
        Self { hook, variant: None, report: HookReport::new(unit_of(hook), hook, State::Disabled) }
    }

    fn works(&self) -> bool {
        self.report.state.works()
    }
}

/// The hooks as they are now.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    outcomes: Vec<Outcome>,
    /// What the units that are not disabled were loaded with.
    loaded_with: Vec<(Unit, Settings)>,
    reports: Vec<HookReport>,
    helpers: Vec<HookReport>,
}

/// What a change asks of who reads the rings.
#[derive(Default)]
pub(crate) struct Step {
    /// Hooks that are attached anew. Where one was attached already, it is so twice now.
    pub loaded: Option<Loaded>,
    /// The kernel's drop reasons, where something was loaded.
    pub reasons: Reasons,
    /// Hooks that are to be detached, with nothing in their place.
    pub released: Vec<Hook>,
    /// The hooks whose state is another than it was, and what it was.
    pub states: Vec<(HookReport, Option<State>)>,
}

impl Standing {
    /// One report for each kernel event: its main hook, with what its helping hooks lack.
    pub(crate) fn reports(&self) -> &[HookReport] {
        &self.reports
    }

    /// The hooks that add to events.
    pub(crate) fn helpers(&self) -> &[HookReport] {
        &self.helpers
    }

    /// Attaches what `settings` want and does not stand as they want it. Where the kernel refuses what shall replace a
    /// working hook, that one stays.
    pub(crate) fn change(&mut self, settings: &Settings) -> Step {
        let before: Vec<HookReport> = self.all_reports().cloned().collect();
        let mut step = Step::default();
        let (wanted, unwanted): (Vec<Unit>, Vec<Unit>) = units().partition(|unit| is_wanted(settings, *unit));
        for unit in unwanted {
            step.released.extend(self.disable(unit));
        }
        let due: Vec<Unit> = wanted.into_iter().filter(|unit| !self.stands(*unit, settings)).collect();
        if !due.is_empty() {
            let mut attempt = attempt(settings, &due);
            for unit in due {
                step.released.extend(self.take_over(unit, settings, &mut attempt));
            }
            step.loaded = attempt.loaded.filter(|loaded| !loaded.hooks().is_empty());
            step.reasons = attempt.reasons;
        }
        self.reports = self.event_reports();
        self.helpers = self.helper_reports();
        step.states = self.all_reports().filter_map(|report| changed(&before, report)).collect();
        step
    }

    fn all_reports(&self) -> impl Iterator<Item = &HookReport> {
        self.reports.iter().chain(&self.helpers)
    }

    /// Marks a unit as disabled; the hooks that were attached.
    fn disable(&mut self, unit: Unit) -> Vec<Hook> {
        let old = self.remove(unit);
        let mut hooks: Vec<Hook> = usual_hooks(unit).collect();
        hooks.extend(old.iter().map(|outcome| outcome.hook).filter(|hook| !usual_hooks(unit).any(|h| h == *hook)));
        self.outcomes.extend(hooks.into_iter().map(Outcome::disabled));
        old.iter().filter(|outcome| outcome.works()).map(|outcome| outcome.hook).collect()
    }

    fn remove(&mut self, unit: Unit) -> Vec<Outcome> {
        self.loaded_with.retain(|(other, _)| *other != unit);
        self.outcomes.extract_if(.., |outcome| unit_of(outcome.hook) == unit).collect()
    }

    /// Whether nothing can be done for a unit: it is loaded as the settings say, and all that it lacks is what this
    /// kernel does not have. What was refused may be allowed now.
    fn stands(&self, unit: Unit, settings: &Settings) -> bool {
        let can_change = |outcome: &Outcome| matches!(outcome.report.state, State::Denied | State::Failed);
        self.is_loaded_with(unit, settings) && !self.of(unit).any(can_change)
    }

    fn is_loaded_with(&self, unit: Unit, settings: &Settings) -> bool {
        let part = at_load(settings, unit);
        self.loaded_with.iter().any(|(other, with)| *other == unit && *with == part)
    }

    /// Puts what was attached anew for a unit in the place of what stood, unless that was better. The hooks that stood
    /// and have nothing in their place now.
    fn take_over(&mut self, unit: Unit, settings: &Settings, attempt: &mut Attempt) -> Vec<Hook> {
        let new: Vec<Outcome> = attempt.outcomes.extract_if(.., |outcome| unit_of(outcome.hook) == unit).collect();
        let working = |outcomes: &mut dyn Iterator<Item = &Outcome>| outcomes.filter(|outcome| outcome.works()).count();
        let (old_works, new_works) = (working(&mut self.of(unit)), working(&mut new.iter()));
        let main = new.iter().find(|outcome| Some(outcome.hook) == main_hook(unit));
        let is_better = !self.is_loaded_with(unit, settings) || new_works > old_works;
        if old_works > 0 && !(is_better && main.is_some_and(Outcome::works)) {
            if let Some(main) = main.filter(|_| is_better) {
                tracing::error!("{}; the hook goes on with its old settings: restart needed", main.report);
            }
            for outcome in &new {
                attempt.detach(outcome.hook);
            }
            return Vec::new();
        }
        let old = self.remove(unit);
        let is_replaced = |hook: Hook| new.iter().any(|outcome| outcome.hook == hook && outcome.works());
        let stood = old.iter().filter(|outcome| outcome.works()).map(|outcome| outcome.hook);
        let released = stood.filter(|hook| !is_replaced(*hook)).collect();
        self.outcomes.extend(new);
        self.loaded_with.push((unit, at_load(settings, unit)));
        released
    }

    fn of(&self, unit: Unit) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(move |outcome| unit_of(outcome.hook) == unit)
    }

    fn outcome(&self, hook: Hook) -> Option<&Outcome> {
        self.outcomes.iter().find(|outcome| outcome.hook == hook)
    }

    fn event_reports(&self) -> Vec<HookReport> {
        Kind::KERNEL.into_iter().filter_map(|kind| Some(self.event_report(kind, self.outcome(kind.hook()?)?))).collect()
    }

    fn event_report(&self, kind: Kind, main: &Outcome) -> HookReport {
        let mut report = main.report.clone();
        let lacks = self.lacks(kind, main.variant);
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
        let helps = |hook: &Hook| Kind::KERNEL.iter().all(|kind| kind.hook() != Some(*hook));
        let outcomes = Hook::ALL.into_iter().filter(helps).filter_map(|hook| self.outcome(hook));
        outcomes.map(|outcome| outcome.report.clone()).collect()
    }
}

/// A report with the state before, where that was another one or none.
fn changed(before: &[HookReport], now: &HookReport) -> Option<(HookReport, Option<State>)> {
    let before = before.iter().find(|report| report.hook == now.hook).map(|report| report.state);
    (before != Some(now.state)).then(|| (now.clone(), before))
}
