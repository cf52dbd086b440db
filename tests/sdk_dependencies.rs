//! What an application pulls in with `default-features = false, features = ["sdk"]`.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::process::Command;

/// Crates that only the agent needs.
const AGENT_ONLY: &[&str] = &[
    "anstream",
    "aya",
    "axum",
    "clap",
    "indicatif",
    "saphyr-parser",
    "serde_json",
    "strsim",
    "tracing-subscriber",
    "ulid",
];

fn dependencies(features: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--no-default-features", "--features"])
        .arg(features.join(","))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn an_application_pulls_in_nothing_of_the_agent() {
    let sdk = dependencies(&["sdk"]);
    assert!(sdk.contains(&"opentelemetry_sdk".to_owned()), "{sdk:?}");
    let unwanted: Vec<_> = AGENT_ONLY.iter().filter(|name| sdk.iter().any(|there| there == *name)).collect();
    assert!(unwanted.is_empty(), "{unwanted:?}");
    let agent = dependencies(&["agent"]);
    let unknown: Vec<_> = AGENT_ONLY.iter().filter(|name| !agent.iter().any(|there| there == *name)).collect();
    assert!(unknown.is_empty(), "no dependencies of the agent: {unknown:?}");
}

#[test]
fn the_log_alone_needs_no_telemetry_no_network_and_no_runtime() {
    let bare = dependencies(&[]);
    for name in ["tokio", "tonic", "prost", "hyper", "opentelemetry", "tracing"] {
        assert!(!bare.iter().any(|there| there == name), "{name} is in {bare:?}");
    }
}
