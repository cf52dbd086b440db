//! Files, merging, `--set`, and references to the environment.

use super::*;
use crate::config::{ExporterSettings, Receiver};
use crate::exporters::otlp;

const BASE: &str = "
receivers: { otlp: { protocols: { grpc: } } }
exporters:
  otlp:
    endpoint: collector:4317
    headers: { x: base, y: base }
service: { pipelines: { logs: { receivers: [otlp], exporters: [otlp] } } }
";

fn otlp_exporter(config: &Config) -> &otlp::Settings {
    match &config.exporters.values().next().unwrap().settings {
        ExporterSettings::Otlp(settings) => settings,
        other => panic!("{other:?}"),
    }
}

fn with_endpoint(endpoint: &str, variables: &[(&str, &str)]) -> Result<String, Faults> {
    let text = BASE.replace("collector:4317", endpoint);
    load_with(&text, variables).map(|config| otlp_exporter(&config).endpoint.clone())
}

#[test]
fn references_to_the_environment_are_replaced() {
    let env = [("HOST", "gw"), ("PORT", "5317"), ("EMPTY", "")];
    assert_eq!(with_endpoint("${env:HOST}:4317", &env).unwrap(), "gw:4317");
    assert_eq!(with_endpoint("'${HOST}:${env:PORT}'", &env).unwrap(), "gw:5317");
    assert_eq!(with_endpoint("${env:NOPE:-other:1}", &env).unwrap(), "other:1");
    assert_eq!(with_endpoint("${env:HOST:-other}:1", &env).unwrap(), "gw:1");
    assert_eq!(with_endpoint("${env:NOPE:-${env:ALSO_NOPE:-third}}:1", &env).unwrap(), "third:1");
    // As in the Collector, a default stands for what is not set, not for what is empty.
    assert!(with_endpoint("${env:EMPTY:-other:1}", &env).is_err());
}

#[test]
fn two_dollars_are_one_and_a_lone_dollar_stays() {
    let text = BASE.replace("{ x: base, y: base }", "{ x: 'a$$b$${env:HOST}$', y: '$c' }");
    let config = load_with(&text, &[("HOST", "gw")]).unwrap();
    let headers = &otlp_exporter(&config).headers;
    assert_eq!(headers[0].1, "a$b${env:HOST}$".into());
    assert_eq!(headers[1].1, "$c".into());
}

#[test]
fn a_dollar_in_a_variable_is_a_dollar() {
    let text = BASE.replace("x: base", "x: '${env:PASSWORD}'");
    let config = load_with(&text, &[("PASSWORD", "pa$$${env:HOME}")]).unwrap();
    assert_eq!(otlp_exporter(&config).headers[0].1, "pa$$${env:HOME}".into());
}

#[test]
fn a_file_may_hold_what_is_secret_and_messages_do_not_show_it() {
    let files = Files::new();
    let path = files.add("token", "hunter2 ${env:HOME}\r\n");
    let text = |value: &str| BASE.replace("x: base", &format!("x: 'Bearer ${{file:{value}}}'"));
    let config = load_text(&text(&path)).unwrap();
    assert_eq!(otlp_exporter(&config).headers[0].1, "Bearer hunter2 ${env:HOME}".into());
    // Where the service manager puts it.
    let (directory, name) = path.rsplit_once('/').unwrap();
    let nested = load_with(&text(&format!("${{env:DIR}}/{name}")), &[("DIR", directory)]).unwrap();
    assert_eq!(otlp_exporter(&nested).headers, otlp_exporter(&config).headers);
    // A list or map too, as from the environment.
    let map = files.add("headers", "{ a: b }\n");
    let whole = BASE.replace("{ x: base, y: base }", &format!("${{file:{map}}}"));
    assert_eq!(otlp_exporter(&load_text(&whole).unwrap()).headers, [("a".to_owned(), "b".into())]);

    let wrong = BASE.replace("collector:4317", &format!("'${{file:{path}}}'"));
    let said = format!("{:?} {}", load_text(&wrong).unwrap_err(), load_text(&wrong).unwrap_err());
    assert!(said.contains("${file:") && !said.contains("hunter2"), "{said}");
    let large = files.add("large", &"x".repeat((64 << 10) + 1));
    for (file, why) in [("/nowhere", "No such file"), ("/dev/zero", "no regular file"), (&*large, "64 KiB")] {
        let said = load_text(&text(file)).unwrap_err().to_string();
        assert!(said.contains("cannot be used") && said.contains(why), "{said}");
    }
}

#[test]
fn a_variable_alone_has_a_type_of_its_own() {
    let text = BASE.replace(
        "    headers: { x: base, y: base }",
        "    headers: ${env:HEADERS}\n    tls: { insecure: '${env:INSECURE}' }\n    timeout: ${env:TIMEOUT}",
    );
    let env = [("HEADERS", "{a: b, c: '{d}'}"), ("INSECURE", "true"), ("TIMEOUT", "7s")];
    let config = load_with(&text, &env).unwrap();
    let settings = otlp_exporter(&config);
    let pair = |name: &str, value: &str| (name.to_owned(), value.into());
    assert_eq!(settings.headers, [pair("a", "b"), pair("c", "{d}")]);
    assert!(settings.tls.insecure);
    assert_eq!(settings.timeout.as_secs(), 7);
}

#[test]
fn a_variable_that_is_not_set_is_empty_and_told() {
    let text = BASE.replace("x: base", "x: '${env:TOKEN}'");
    let config = load_text(&text).unwrap();
    assert_eq!(otlp_exporter(&config).headers[0].1, "".into());
    let told = notes_of(&config);
    assert!(told[0].starts_with("exporters.otlp.headers.x: the environment variable TOKEN is not set"), "{told:?}");
    let found = faults_of(with_endpoint("${env:NOPE}", &[]).unwrap_err());
    assert_eq!((found[0].0, &*found[0].2), (5, "`endpoint` is missing"));
}

#[test]
fn bad_references_are_told_at_their_place() {
    let told = |endpoint: &str| {
        let found = faults_of(with_endpoint(endpoint, &[]).unwrap_err());
        (found[0].0, found[0].1.clone(), found[0].2.clone(), found[0].3.clone())
    };
    let (line, path, message, suggestion) = told("'${env:HOST'");
    assert_eq!((line, &*path, &*message), (5, "exporters.otlp.endpoint", "`${` is not closed by `}`"));
    assert!(suggestion.contains("`$$`"));
    assert_eq!(told("'${http:/etc/x}'").2, "unknown reference scheme `http` in a value");
    assert_eq!(told("'${env:1X}'").2, "`1X` is no name of an environment variable");
    assert_eq!(told("'${}'").2, "`` is no name of an environment variable");
}

#[test]
fn a_wrong_value_from_the_environment_is_not_shown() {
    let text = format!("{BASE}extensions: {{ health_check: {{ endpoint: '${{env:SECRET}}' }} }}");
    let found = load_with(&text, &[("SECRET", "hunter2")]).unwrap_err();
    assert!(found.to_string().contains("found the value of `${env:SECRET}`"), "{found}");
    assert!(!format!("{found:?}").contains("hunter2"));
}

#[test]
fn maps_merge_lists_replace_and_the_last_wins() {
    let files = Files::new();
    let base = files.add("base.yaml", BASE);
    let over = files.add(
        "over.yaml",
        "
exporters: { otlp: { headers: { y: over, z: over } }, debug: }
service: { pipelines: { logs: { exporters: [debug] }, traces: { receivers: [otlp], exporters: [otlp] } } }",
    );
    let config = load(&sources(vec![base, over])).unwrap();
    let exporters: Vec<String> = config.pipelines[0].exporters.iter().map(ToString::to_string).collect();
    assert_eq!(exporters, ["debug"]);
    let Some(ExporterSettings::Otlp(settings)) =
        config.exporters.values().map(|e| &e.settings).find(|s| matches!(s, ExporterSettings::Otlp(_)))
    else {
        panic!("no otlp")
    };
    assert_eq!(settings.endpoint, "collector:4317");
    let headers: Vec<(&str, &str)> = settings.headers.iter().map(|(n, v)| (&**n, &*v.0)).collect();
    assert_eq!(headers, [("x", "base"), ("y", "over"), ("z", "over")]);
}

#[test]
fn a_merged_value_remembers_its_own_file_and_line() {
    let files = Files::new();
    let base = files.add("base.yaml", BASE);
    let over = files.add("over.yaml", "\n\nexporters: { otlp: { timeout: soon } }");
    let found = load(&sources(vec![base.clone(), over.clone()])).unwrap_err();
    let place = found.faults[0].place.clone().unwrap();
    assert_eq!((place.file, place.line, place.column), (over.clone(), 3, 31));
    let snippet = found.faults[0].snippet.clone().unwrap();
    assert_eq!((&*snippet.text, snippet.column, snippet.width), ("exporters: { otlp: { timeout: soon } }", 31, 4));
    // And the other way round.
    let found = load(&sources(vec![over, base])).unwrap_err();
    assert!(found.faults[0].place.as_ref().unwrap().file.ends_with("over.yaml"));
}

#[test]
fn set_is_laid_on_top_of_all_files() {
    let set =
        |sets: &[&str]| Sources { sets: sets.iter().map(|set| (*set).to_owned()).collect(), ..sources(Vec::new()) };
    let config = load(&set(&[
        "receivers.otlp.protocols.grpc.endpoint=127.0.0.1:5317",
        "receivers::otlp::protocols::http::endpoint=[::1]:5318",
        "receivers::kernel::events::kernel.net.packet_drop::enabled=false",
        "service.pipelines.logs/otlp.exporters=[debug]",
        "service.telemetry.metrics.level=none",
        "service.telemetry.metrics.level=basic",
    ]))
    .unwrap();
    let receivers: Vec<&Receiver> = config.receivers.values().collect();
    let [Receiver::Kernel(kernel), Receiver::Otlp(otlp)] = receivers[..] else { panic!("{receivers:?}") };
    assert!(!kernel.packet_drop.event.enabled);
    assert_eq!(otlp.grpc.as_ref().unwrap().endpoint.address().unwrap().port(), 5317);
    assert_eq!(otlp.http.as_ref().unwrap().endpoint.address().unwrap().to_string(), "[::1]:5318");
    assert_eq!(config.pipelines[1].exporters.len(), 1);
    assert_eq!(config.metrics.len(), 1, "the last --set wins");
}

#[test]
fn a_fault_in_set_points_into_its_argument() {
    let told = |set: &str| {
        let found = load(&Sources { sets: vec![set.to_owned()], ..sources(Vec::new()) }).unwrap_err();
        let fault = found.faults[0].clone();
        (fault.place.unwrap(), fault.path, fault.message)
    };
    let (place, path, message) = told("exporters.file.rotation.max_backups=many");
    assert_eq!((&*place.file, place.line, place.column), ("--set", 1, 37));
    assert_eq!(path, "exporters.file.rotation.max_backups");
    assert_eq!(message, "expected a whole number from 0 to 100000, found `many`");
    let (place, _, message) = told("exporters.file.pth=/x");
    assert_eq!((place.column, &*message), (1, "unknown key `pth`"));
    assert_eq!(told("exporters.file.path").2, "`--set` needs a path and a value");
    assert_eq!(told("exporters..path=/x").2, "`--set` has an empty key in its path");
}

#[test]
fn a_file_that_cannot_be_read_says_which_and_why() {
    let files = Files::new();
    let told = |file: &str| faults_of(load(&sources(vec![file.to_owned()])).unwrap_err())[0].clone();
    let (line, _, message, suggestion) = told("/nowhere/agent.yaml");
    assert_eq!((line, &*message), (0, "cannot read /nowhere/agent.yaml: No such file or directory (os error 2)"));
    assert!(suggestion.contains("--print-default-config"));
    let folder = files.0.path().to_str().unwrap().to_owned();
    assert_eq!(told(&folder).2, format!("cannot read {folder}: it is a directory"));
    assert!(told("https://example.net/agent.yaml").2.contains("only files and `env:NAME` are read"));
    let large = files.add("large.yaml", &"#".repeat(2 << 20));
    assert!(told(&large).2.ends_with("it is larger than 1 MiB"));
    let path = files.0.path().join("latin.yaml");
    std::fs::write(&path, b"receivers: \xff").unwrap();
    assert!(told(path.to_str().unwrap()).2.contains("valid UTF-8"));
}

#[test]
fn every_unreadable_source_is_told_at_once() {
    let files = Files::new();
    let broken = files.add("broken.yaml", "a: [");
    let found = load(&sources(vec!["/nowhere/a".to_owned(), broken, "/nowhere/b".to_owned()])).unwrap_err();
    assert_eq!(found.faults.len(), 3);
}

#[test]
fn a_configuration_may_come_from_a_variable() {
    let sources = Sources { env: env(&[("CONFIG", BASE)]), ..sources(vec!["env:CONFIG".to_owned()]) };
    assert_eq!(load(&sources).unwrap().pipelines.len(), 1);
    let missing = Sources { env: env(&[]), ..sources };
    assert!(load(&missing).unwrap_err().to_string().contains("the environment variable CONFIG is not set"));
}

#[test]
fn anchors_aliases_and_merge_keys_work_as_in_the_collector() {
    let config = load_text(
        "
receivers: { otlp: { protocols: { grpc: } } }
exporters:
  otlp/a: &backend { endpoint: a:1, timeout: 9s }
  otlp/b: { <<: *backend, endpoint: b:1 }
service: { pipelines: { logs: { receivers: [otlp], exporters: [otlp/a, otlp/b] } } }",
    )
    .unwrap();
    let settings: Vec<(String, u64)> = config
        .exporters
        .values()
        .map(|exporter| match &exporter.settings {
            ExporterSettings::Otlp(otlp) => (otlp.endpoint.clone(), otlp.timeout.as_secs()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(settings, [("a:1".to_owned(), 9), ("b:1".to_owned(), 9)]);
}
