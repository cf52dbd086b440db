//! `tidegate components`: what this build can run.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::Globals;
use super::output::{self, DIM, Failure, HEADING, Output};
use crate::config::{COMPONENTS, Component};
use crate::otlp::Signal;

/// List the receivers, processors, exporters and extensions of this build
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tidegate components\n  tidegate components --output json | jq -r '.[].type'")]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, globals: &Globals) -> Result<ExitCode, Failure> {
    match globals.output {
        Output::Json => output::print_json(&to_json())?,
        Output::Text => output::print_text(&to_text())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn to_json() -> Value {
    let object = |component: &Component| {
        json!({
            "kind": component.kind.to_string(),
            "type": component.name,
            "aliases": component.aliases,
            "signals": signals(component),
            "stability": component.stability,
            "description": component.description,
        })
    };
    COMPONENTS.iter().map(object).collect()
}

fn to_text() -> String {
    let mut text = String::new();
    let mut section = "";
    for component in COMPONENTS {
        // Writing to a String cannot fail.
        if component.kind.section() != section {
            section = component.kind.section();
            writeln!(text, "{HEADING}{section}{HEADING:#}").unwrap_or_default();
        }
        let names = std::iter::once(component.name).chain(component.aliases.iter().copied());
        let names = names.collect::<Vec<_>>().join(", ");
        let (signals, stability) = (signals(component).join(", "), component.stability);
        writeln!(text, "  {names:<16} {signals:<22} {DIM}{stability}{DIM:#}  {}", component.description)
            .unwrap_or_default();
    }
    text
}

fn signals(component: &Component) -> Vec<&'static str> {
    component.signals.iter().map(|signal| Signal::name(*signal)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_names_kind_type_aliases_signals_and_stability() {
        let json = to_json();
        let otlp = json.as_array().unwrap().iter().find(|c| c["kind"] == "exporter" && c["type"] == "otlp").unwrap();
        assert_eq!(otlp["aliases"], json!(["otlp_grpc"]));
        assert_eq!(otlp["signals"], json!(["logs", "traces", "metrics"]));
        assert_eq!(otlp["stability"], "alpha");
    }

    #[test]
    fn text_has_every_component_under_its_kind() {
        let text = anstream::adapter::strip_str(&to_text()).to_string();
        let exporters = text.split("exporters\n").nth(1).and_then(|rest| rest.split("extensions\n").next()).unwrap();
        for name in ["otlp, otlp_grpc", "file", "debug"] {
            assert!(exporters.contains(&format!("  {name} ")), "{name} in {exporters}");
        }
    }
}
