//! Which hooks work together, and which settings their programs have in them from the moment that they are loaded.

use super::hooks::Hook;
use crate::receivers::kernel::events::catalogue::Kind;
use crate::receivers::kernel::settings::{EventSettings, HungTaskSettings, Settings};

/// An event's hooks, which share maps and so are loaded together; None: the hooks that serve every event.
pub(crate) type Unit = Option<Kind>;

/// Every unit.
pub(crate) fn units() -> impl Iterator<Item = Unit> {
    std::iter::once(None).chain(Kind::KERNEL.into_iter().map(Some))
}

/// The unit that a hook is of.
pub(crate) fn unit_of(hook: Hook) -> Unit {
    let helped = |kind: &Kind| kind.helpers().iter().any(|(helper, _)| *helper == hook);
    match hook {
        Hook::SignalGenerate => Some(Kind::OomKill),
        _ => Kind::of_hook(hook).or_else(|| Kind::KERNEL.into_iter().find(helped)),
    }
}

/// The hook without which a unit is of no use.
pub(crate) fn main_hook(unit: Unit) -> Option<Hook> {
    unit.map_or(Some(Hook::CgroupMkdir), Kind::hook)
}

/// The hooks of a unit on any kernel: `signal_generate` only serves some.
pub(crate) fn usual_hooks(unit: Unit) -> impl Iterator<Item = Hook> {
    Hook::ALL.into_iter().filter(move |hook| *hook != Hook::SignalGenerate && unit_of(*hook) == unit)
}

/// Whether these settings need the unit.
pub(crate) fn is_wanted(settings: &Settings, unit: Unit) -> bool {
    match unit {
        Some(kind) => event_settings(settings, kind).enabled,
        None => Kind::KERNEL.into_iter().any(|kind| event_settings(settings, kind).enabled),
    }
}

/// The settings that the unit's programs and maps are loaded with, and nothing else of them: where two differ, only
/// programs that are loaded anew do as the settings say.
pub(crate) fn at_load(settings: &Settings, unit: Unit) -> Settings {
    let mut part = Settings { rings: settings.rings.clone(), ..Settings::default() };
    match unit {
        Some(Kind::OomKill) => part.oom_kill = settings.oom_kill.clone(),
        Some(Kind::ProcessCrash) => {
            part.process_crash = settings.process_crash.clone();
            part.command_line = settings.command_line;
            part.crash_stacks = settings.crash_stacks;
        }
        Some(Kind::TcpRetransmit) => part.tcp_retransmit = settings.tcp_retransmit.clone(),
        Some(Kind::PacketDrop) => part.packet_drop = settings.packet_drop.clone(),
        Some(Kind::TaskHung) => {
            let max_stacks = part.task_hung.max_stacks;
            part.task_hung = HungTaskSettings { max_stacks, ..settings.task_hung.clone() };
        }
        None | Some(Kind::ProbeState | Kind::Loss) => {}
    }
    part
}

/// The common settings of a kernel event.
pub(crate) fn event_settings(settings: &Settings, kind: Kind) -> &EventSettings {
    match kind {
        Kind::OomKill => &settings.oom_kill,
        Kind::ProcessCrash | Kind::ProbeState | Kind::Loss => &settings.process_crash,
        Kind::TcpRetransmit => &settings.tcp_retransmit,
        Kind::PacketDrop => &settings.packet_drop.event,
        Kind::TaskHung => &settings.task_hung.event,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(change: impl FnOnce(&mut Settings)) -> Vec<Unit> {
        let (before, mut after) = (Settings::default(), Settings::default());
        change(&mut after);
        units().filter(|unit| at_load(&before, *unit) != at_load(&after, *unit)).collect()
    }

    #[test]
    fn a_setting_of_one_events_programs_touches_no_other_event() {
        assert_eq!(changed(|settings| settings.packet_drop.event.max_per_second = 7), [Some(Kind::PacketDrop)]);
        assert_eq!(
            changed(|settings| settings.packet_drop.ignore_reasons.push("X".to_owned())),
            [Some(Kind::PacketDrop)]
        );
        assert_eq!(changed(|settings| settings.command_line = true), [Some(Kind::ProcessCrash)]);
        assert_eq!(changed(|settings| settings.crash_stacks = true), [Some(Kind::ProcessCrash)]);
        assert_eq!(changed(|settings| settings.task_hung.stacks = false), [Some(Kind::TaskHung)]);
    }

    #[test]
    fn what_only_the_reader_does_touches_no_program() {
        assert_eq!(changed(|settings| settings.event_name_attribute = true), []);
        assert_eq!(changed(|settings| settings.fault_address = true), []);
        assert_eq!(changed(|settings| settings.task_hung.max_stacks = 3), []);
    }

    #[test]
    fn the_rings_are_every_units() {
        assert_eq!(changed(|settings| settings.rings.bulk *= 2), units().collect::<Vec<_>>());
    }

    #[test]
    fn every_unit_has_its_main_hook() {
        for unit in units() {
            assert_eq!(main_hook(unit).map(unit_of), Some(unit));
        }
    }
}
