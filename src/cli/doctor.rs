//! `tidegate doctor`: what this machine allows, and what would allow the rest.

mod checks;
mod machine;

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::Globals;
use super::output::{self, DIM, Failure, GOOD, HEADING, HELP, Output, WARNING};
use super::sources::ConfigArgs;
use crate::config::{Config, Receiver, load};
use crate::receivers::kernel::{self, HookReport};
use checks::Check;
use machine::Machine;

/// Show what this machine allows: kernel, rights, hooks, data directory, ports
///
/// Hooks are attached for a moment, to see whether the kernel lets them; nothing stays attached. Each gap is told with
/// what would close it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    tidegate doctor\n  \
    tidegate doctor --config agent.yaml\n  \
    tidegate doctor --output json | jq '.hooks[] | select(.state != \"attached\")'")]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

/// All that is found out.
#[derive(Debug)]
struct Diagnosis {
    machine: Machine,
    hooks: Vec<HookReport>,
    checks: Vec<Check>,
}

pub(crate) fn run(args: &Args, globals: &Globals) -> Result<ExitCode, Failure> {
    let config = load(&args.config.sources(globals));
    let settings = config.as_ref().ok().and_then(kernel_settings).unwrap_or_default();
    let machine = Machine::read();
    // Dropped at once, which detaches.
    let hooks = hooks(&kernel::attach(&settings));
    let diagnosis = Diagnosis { hooks, checks: checks::all(&config, &machine), machine };
    match globals.output {
        Output::Json => output::print_json(&to_json(&diagnosis))?,
        Output::Text => output::print_text(&to_text(&diagnosis))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn kernel_settings(config: &Config) -> Option<kernel::Settings> {
    config.receivers.values().find_map(|receiver| match receiver {
        Receiver::Kernel(settings) => Some(settings.clone()),
        Receiver::Otlp(_) => None,
    })
}

fn hooks(probes: &kernel::Probes) -> Vec<HookReport> {
    probes.reports().iter().chain(probes.helpers()).cloned().collect()
}

fn to_json(diagnosis: &Diagnosis) -> Value {
    let Diagnosis { machine, hooks, checks } = diagnosis;
    let hook = |hook: &HookReport| {
        json!({
            "event": hook.event,
            "hook": hook.hook,
            "state": hook.state.name(),
            "errno": hook.errno,
            "error_type": hook.error_type,
            "fallback": hook.fallback,
            "fix": hook.fix,
        })
    };
    let check =
        |check: &Check| json!({ "name": check.name, "ok": check.ok, "message": check.message, "fix": check.fix });
    json!({
        "kernel": machine.kernel,
        "btf": machine.btf,
        "capabilities": machine.capabilities,
        "hooks": hooks.iter().map(hook).collect::<Vec<_>>(),
        "checks": checks.iter().map(check).collect::<Vec<_>>(),
    })
}

fn to_text(diagnosis: &Diagnosis) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    write_text(&mut text, diagnosis).unwrap_or_default();
    text
}

fn write_text(text: &mut String, diagnosis: &Diagnosis) -> std::fmt::Result {
    let Diagnosis { machine, hooks, checks } = diagnosis;
    let btf = if machine.btf { "with BTF" } else { "without BTF" };
    writeln!(text, "{HEADING}kernel{HEADING:#}  {} {DIM}{btf}{DIM:#}", machine.kernel)?;
    let held = if machine.capabilities.is_empty() { "none".to_owned() } else { machine.capabilities.join(", ") };
    writeln!(text, "{HEADING}rights{HEADING:#}  {held}")?;
    writeln!(text, "{HEADING}hooks{HEADING:#}")?;
    for hook in hooks {
        let style = if hook.state.works() { GOOD } else { WARNING };
        let error = hook.error_type.as_deref().map(|error| format!(" ({error})")).unwrap_or_default();
        let event = hook.event.unwrap_or("every event");
        writeln!(text, "  {style}{:<9}{style:#} {event:<28} {DIM}{}{DIM:#}{error}", hook.state.name(), hook.hook)?;
        write_line(text, "instead", hook.fallback.as_deref())?;
        write_line(text, "fix", hook.fix.as_deref())?;
    }
    writeln!(text, "{HEADING}checks{HEADING:#}")?;
    for check in checks {
        let (style, word) = if check.ok { (GOOD, "ok") } else { (WARNING, "gap") };
        writeln!(text, "  {style}{word:<9}{style:#} {:<28} {}", check.name, check.message)?;
        write_line(text, "fix", check.fix.as_deref())?;
    }
    Ok(())
}

fn write_line(text: &mut String, what: &str, line: Option<&str>) -> std::fmt::Result {
    match line {
        Some(line) => writeln!(text, "  {:<9} {HELP}{what}:{HELP:#} {line}", ""),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receivers::kernel::State;

    fn diagnosis() -> Diagnosis {
        let hook = HookReport {
            event: Some("kernel.oom.kill"),
            hook: "tp_btf/mark_victim",
            state: State::Denied,
            errno: Some(1),
            error_type: Some("EPERM".to_owned()),
            fallback: None,
            fix: Some("needs CAP_BPF and CAP_PERFMON".to_owned()),
        };
        let check = Check::gap("port 4317", "held by otelcol (pid 7)").fix("stop it");
        let machine = Machine { kernel: "6.1.0".to_owned(), btf: true, capabilities: vec!["CAP_SYSLOG"] };
        Diagnosis { machine, hooks: vec![hook], checks: vec![check] }
    }

    #[test]
    fn json_has_the_documented_fields() {
        assert_eq!(
            to_json(&diagnosis()),
            json!({
                "kernel": "6.1.0",
                "btf": true,
                "capabilities": ["CAP_SYSLOG"],
                "hooks": [{
                    "event": "kernel.oom.kill", "hook": "tp_btf/mark_victim", "state": "denied", "errno": 1,
                    "error_type": "EPERM", "fallback": null, "fix": "needs CAP_BPF and CAP_PERFMON",
                }],
                "checks": [{
                    "name": "port 4317", "ok": false, "message": "held by otelcol (pid 7)", "fix": "stop it",
                }],
            })
        );
    }

    #[test]
    fn text_tells_each_gap_with_its_fix() {
        let text = anstream::adapter::strip_str(&to_text(&diagnosis())).to_string();
        for line in [
            "kernel  6.1.0 with BTF",
            "rights  CAP_SYSLOG",
            "  denied    kernel.oom.kill              tp_btf/mark_victim (EPERM)",
            "            fix: needs CAP_BPF and CAP_PERFMON",
            "  gap       port 4317                    held by otelcol (pid 7)",
        ] {
            assert!(text.lines().any(|l| l == line), "{line:?} is not in\n{text}");
        }
    }
}
