//! The house rules that a compiler does not hold. Each test names one rule; a failure lists every place.

#![allow(clippy::disallowed_methods, reason = "reads the source tree")]
#![allow(clippy::unwrap_used, reason = "a test ends where its own preparation fails")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A file above this many lines needs a reason in [`LONG_FILES`]; above [`FILE_PROMPT`] it is only shown.
const FILE_LIMIT: usize = 700;
const FILE_PROMPT: usize = 500;
/// As above, for functions.
const FUNCTION_LIMIT: usize = 100;
const FUNCTION_PROMPT: usize = 70;

/// Files that may be long: path and reason.
const LONG_FILES: &[(&str, &str)] = &[];
/// Functions that may be long: path, name and reason.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[];

/// Which folders of `src` a folder may name. Test code obeys too.
const IMPORTS: &[(&str, &[&str])] = &[
    ("spool", &["spool"]),
    ("otlp", &["otlp"]),
    ("extensions", &["extensions", "turns"]),
    ("stamp", &["stamp"]),
    ("tls", &["tls"]),
    ("turns", &["turns"]),
    ("auth", &["auth", "stamp", "turns"]),
    ("listen", &["listen", "stamp", "tls"]),
    ("exporters", &["exporters", "auth", "otlp", "spool", "stamp", "tls"]),
    ("receivers", &["receivers", "auth", "listen", "otlp", "spool", "tls", "turns"]),
    ("processors", &["processors", "otlp", "spool"]),
    ("sdk", &["sdk", "auth", "exporters", "otlp", "spool"]),
    ("config", &["config", "receivers", "processors", "exporters", "extensions", "auth", "listen", "otlp", "spool"]),
    (
        "pipeline",
        &[
            "pipeline",
            "config",
            "receivers",
            "processors",
            "exporters",
            "extensions",
            "listen",
            "otlp",
            "spool",
            "privilege",
        ],
    ),
];

/// What the log must not know.
const NOT_IN_SPOOL: &[&str] = &["tokio", "tonic", "hyper", "axum", "prost", "opentelemetry", "std::net"];

/// Where files may be touched: a path prefix and the reason.
const FILE_ACCESS: &[(&str, &str)] = &[
    ("src/spool/fs.rs", "owns every file call of the log"),
    ("src/exporters/file", "a file is what it exports to"),
    ("src/auth/watched.rs", "reads the files with credentials that the config names"),
    ("src/stamp.rs", "looks whether a file that the config names changed"),
    ("src/config/", "reads configuration files"),
    ("src/listen/holder.rs", "reads /proc to name who holds a port"),
    ("src/listen/unix.rs", "the name and the mode of a Unix socket"),
    ("src/pipeline/observe/process.rs", "reads /proc to say what the agent takes of the machine"),
    ("src/cli/", "doctor reads /proc and /sys; commands read what they are pointed at"),
    ("src/receivers/kernel/", "reads /proc, /sys, cgroups and the container runtimes' files"),
];

/// Words that mean unfinished work. Split, so that this file does not contain them.
const UNFINISHED: &[&str] = &[concat!("to", "do"), concat!("fix", "me"), concat!("x", "xx")];
/// Places that exist only where the project is written.
const PLACES: &[&str] = &[concat!("/wo", "rk/"), concat!("../sh", "ared"), concat!("/ro", "ot/.")];

struct Source {
    /// Relative to the package, with forward slashes.
    path: String,
    text: String,
}

impl Source {
    fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|e| e == extension)
    }

    /// The numbered lines before an inline test module.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.path.ends_with("tests.rs") || self.path.contains("/tests/");
        let mut lines = self.text.lines().enumerate().map(|(at, line)| (at + 1, line)).peekable();
        let mut ended = tests;
        std::iter::from_fn(move || {
            let (at, line) = lines.next()?;
            let opens = |next: &str| next.starts_with("mod ") && next.ends_with('{');
            ended |= line == "#[cfg(test)]" && lines.peek().is_some_and(|(_, next)| opens(next));
            (!ended).then_some((at, line))
        })
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file that people write, without build output.
fn sources() -> Vec<Source> {
    let written = ["rs", "md", "toml", "yaml", "yml", "c", "h", "sh", "service", "java", "xml"];
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !path.is_symlink() {
                if !matches!(name.as_str(), "target" | ".git" | "corpus" | "artifacts") {
                    folders.push(path);
                }
                continue;
            }
            let script = path.parent().is_some_and(|p| p.file_name().is_some_and(|f| f == "tests" || f == ".ci"))
                && name == "run";
            if script || path.extension().is_some_and(|e| written.iter().any(|w| e == *w)) {
                let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                let path = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.push(Source { path, text });
            }
        }
    }
    assert!(found.iter().any(|s| s.path == "tests/tidy.rs"), "the walk found nothing of ours");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn rust() -> Vec<Source> {
    sources().into_iter().filter(|s| s.is("rs")).collect()
}

#[track_caller]
fn none(rule: &str, found: &[String]) {
    let list = found.iter().fold(String::new(), |mut list, place| {
        writeln!(list, "  {place}").unwrap();
        list
    });
    assert!(found.is_empty(), "{rule}:\n{list}");
}

/// The functions of a formatted file: line, name, length.
fn functions(text: &str) -> Vec<(usize, String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let Some(open) = lines[at..].iter().position(|l| l.ends_with(['{', '}', ';'])) else { continue };
        if !lines[at + open].ends_with('{') {
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let closes = |l: &&str| l.strip_prefix(indent) == Some("}");
        let length = lines[at..].iter().position(closes).unwrap_or(0) + 1;
        found.push((at + 1, name, length));
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let mut words = line.split_whitespace().peekable();
    while let Some(word) = words.next() {
        match word {
            "const" | "async" | "unsafe" | "extern" | "\"C\"" | "pub" => {}
            "fn" => return words.next().map(|n| n.split(['(', '<']).next().unwrap_or(n).to_owned()),
            _ if word.starts_with("pub(") => {}
            _ => return None,
        }
    }
    None
}

#[test]
fn files_and_functions_are_short() {
    let mut found = Vec::new();
    for source in rust() {
        let path = source.path.as_str();
        let lines = source.text.lines().count();
        if lines > FILE_PROMPT {
            println!("{path}: {lines} lines: is it one idea?");
        }
        if lines > FILE_LIMIT && !LONG_FILES.iter().any(|(p, _)| *p == path) {
            found.push(format!("{path}: {lines} lines, the limit is {FILE_LIMIT}"));
        }
        for (at, name, length) in functions(&source.text) {
            if length > FUNCTION_PROMPT {
                println!("{path}:{at}: {name} has {length} lines: is it one thing?");
            }
            if length > FUNCTION_LIMIT && !LONG_FUNCTIONS.iter().any(|(p, n, _)| *p == path && *n == name) {
                found.push(format!("{path}:{at}: {name} has {length} lines, the limit is {FUNCTION_LIMIT}"));
            }
        }
    }
    none("too long; split it, or give the reason in tests/tidy.rs", &found);
}

/// The modules named after `crate::`, also inside braces, with their lines; comments left out.
fn crate_modules(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (offset, mark) in text.match_indices("crate::") {
        let rest = &text[offset + mark.len()..];
        let line_start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
        if text[line_start..offset].trim_start().starts_with("//") {
            continue;
        }
        let at = text[..offset].matches('\n').count() + 1;
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(group) => top_level(group.split_once("};").map_or(group, |(inside, _)| inside)),
            None => vec![rest],
        };
        for name in names {
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
            found.push((at, name[..end].to_owned()));
        }
    }
    found
}

/// The members of a `use` group, without those of groups inside it.
fn top_level(group: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let split = group.split(move |c| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    split.map(str::trim).filter(|name| !name.is_empty()).collect()
}

#[test]
fn imports_point_one_way() {
    let modules: Vec<&str> = IMPORTS.iter().map(|(folder, _)| *folder).chain(["cli", "privilege"]).collect();
    let mut found = Vec::new();
    for source in rust() {
        let Some(inside) = source.path.strip_prefix("src/") else { continue };
        let folder = inside.split(['/', '.']).next().unwrap_or(inside);
        let Some((_, allowed)) = IMPORTS.iter().find(|(f, _)| *f == folder) else { continue };
        for (at, module) in crate_modules(&source.text) {
            if modules.contains(&module.as_str()) && !allowed.contains(&module.as_str()) {
                found.push(format!("{}:{at}: {folder} must not import {module}", source.path));
            }
        }
    }
    none("imports point cli → pipeline → receivers, processors, exporters, extensions → otlp, spool → std", &found);
}

#[test]
fn the_log_knows_neither_runtime_nor_network_nor_telemetry() {
    let mut found = Vec::new();
    for source in rust().iter().filter(|s| s.path.starts_with("src/spool/")) {
        for (at, line) in source.code().filter(|(_, l)| !l.trim_start().starts_with("//")) {
            for name in NOT_IN_SPOOL.iter().filter(|name| line.contains(&format!("{name}::"))) {
                found.push(format!("{}:{at}: {name}", source.path));
            }
        }
    }
    none("the log must not use these", &found);
}

/// The public items of a file, with their lines and whether an example in their docs asserts something. What is `pub`
/// in the log is exported: the compiler's `unreachable_pub` sees to that.
fn public_items(source: &Source) -> Vec<(usize, String, bool)> {
    let mut found = Vec::new();
    let mut docs = Vec::new();
    for (at, line) in source.code() {
        let line = line.trim();
        if let Some(doc) = line.strip_prefix("///") {
            docs.push(doc.trim());
        } else if let Some(item) = line.strip_prefix("pub ") {
            let kind = item.split([' ', '<']).find(|word| !matches!(*word, "async" | "unsafe" | "extern" | "\"C\""));
            let is_item =
                matches!(kind, Some("fn" | "struct" | "enum" | "union" | "trait" | "type" | "const" | "static"));
            if is_item {
                let end = item.find(['(', '{', ';', ':', '=']).unwrap_or(item.len());
                found.push((at, item[..end].trim().to_owned(), has_example(&docs)));
            }
            docs.clear();
        } else if !line.starts_with("#[") {
            docs.clear();
        }
    }
    found
}

/// Whether there is a code block that runs as a test and asserts something.
fn has_example(docs: &[&str]) -> bool {
    let mut fenced = None;
    docs.iter().any(|line| {
        match (line.strip_prefix("```"), fenced) {
            (Some(_), Some(_)) => fenced = None,
            (Some(language), None) => fenced = Some(language),
            (None, _) => {}
        }
        fenced == Some("") && line.contains("assert")
    })
}

#[test]
fn every_public_item_of_the_log_has_an_example_that_asserts() {
    let mut found = Vec::new();
    let mut items = 0;
    // For the fuzzer alone, and in no documentation.
    for source in rust().iter().filter(|s| s.path.starts_with("src/spool/") && s.path != "src/spool/fuzz.rs") {
        for (at, item, has_example) in public_items(source) {
            items += 1;
            if !has_example {
                found.push(format!("{}:{at}: {item}", source.path));
            }
        }
    }
    assert!(items > 100, "the walk found {items} public items");
    none("public items of the log without an example in their docs that runs and asserts", &found);
}

#[test]
fn files_are_touched_only_in_the_named_places() {
    let mut found = Vec::new();
    for source in rust().iter().filter(|s| s.path.starts_with("src/")) {
        if FILE_ACCESS.iter().any(|(prefix, _)| source.path.starts_with(prefix)) {
            continue;
        }
        for (at, line) in source.code().filter(|(_, l)| !l.trim_start().starts_with("//")) {
            let calls = ["std::fs", "tokio::fs", "rustix::fs", "fs::File::", "File::open"];
            if calls.iter().any(|call| line.contains(call)) && !line.contains("super::fs") {
                found.push(format!("{}:{at}: {}", source.path, line.trim()));
            }
        }
    }
    none("file calls outside the places that tests/tidy.rs names", &found);
}

#[test]
fn every_unsafe_says_why_it_is_sound() {
    let mut found = Vec::new();
    for source in rust() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or(line).trim_start();
            let marks = ["unsafe {", "unsafe impl", "unsafe fn"];
            if code.contains('"') || !marks.iter().any(|mark| code.contains(mark)) {
                continue;
            }
            let said = |l: &&&str| l.contains("SAFETY:") || l.contains("# Safety");
            let near = lines[..at].iter().rev().take_while(|l| {
                let l = l.trim_start();
                l.starts_with("//") || l.starts_with("#[") || l.ends_with(['=', '(', '|'])
            });
            if near.filter(said).count() == 0 && !line.contains("SAFETY:") {
                found.push(format!("{}:{}: {}", source.path, at + 1, line.trim()));
            }
        }
    }
    none("unsafe without a SAFETY comment", &found);
}

#[test]
fn nothing_unfinished_or_local_is_left_in() {
    let mut found = Vec::new();
    for source in sources() {
        for (at, line) in source.text.lines().enumerate() {
            let lower = line.to_lowercase();
            let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            let lint = source.path == "Cargo.toml" && line.contains("= \"deny\"");
            for word in UNFINISHED.iter().filter(|word| words.contains(word) && !lint) {
                found.push(format!("{}:{}: {word}", source.path, at + 1));
            }
            for place in PLACES.iter().filter(|place| line.contains(*place)) {
                found.push(format!("{}:{}: {place}", source.path, at + 1));
            }
            // vm.sh fails when these do not all run.
            let guest =
                source.path == "tests/kernel/guest.rs" && line.contains("only in the guests of tests/kernel/vm.sh");
            let performed = guest || line.contains("performed by other tests");
            if source.is("rs") && line.trim_start().starts_with(concat!("#[", "ignore")) && !performed {
                found.push(format!("{}:{}: a test that is ignored", source.path, at + 1));
            }
        }
    }
    none("unfinished, skipped, or of one machine only", &found);
}

#[test]
fn text_has_no_tabs_and_no_trailing_space() {
    let mut found = Vec::new();
    for source in sources() {
        for (at, line) in source.text.lines().enumerate() {
            // C for the kernel is written as the kernel's is.
            if line.contains('\t') && !source.path.starts_with("ebpf/") {
                found.push(format!("{}:{}: tab", source.path, at + 1));
            }
            if line.ends_with(' ') {
                found.push(format!("{}:{}: trailing space", source.path, at + 1));
            }
        }
        if !source.text.ends_with('\n') || source.text.ends_with("\n\n") {
            found.push(format!("{}: must end with one line feed", source.path));
        }
    }
    none("white space", &found);
}

#[test]
fn every_ebpf_file_names_its_licence() {
    let mark = "SPDX-License-Identifier: GPL-2.0-only OR MIT";
    let sources = sources();
    let ebpf = sources.iter().filter(|s| s.path.starts_with("ebpf/") && (s.is("c") || s.is("h")));
    let found: Vec<String> =
        ebpf.filter(|s| !s.text.lines().next().unwrap_or("").contains(mark)).map(|s| s.path.clone()).collect();
    none(mark, &found);
}

#[test]
fn every_source_file_belongs_to_the_crate() {
    let sources = rust();
    let mut found = Vec::new();
    for source in sources.iter().filter(|s| s.path.starts_with("src/")) {
        let path = Path::new(&source.path);
        let (folder, stem) = (path.parent().unwrap(), path.file_stem().unwrap().to_string_lossy());
        let (name, parent) = match stem.as_ref() {
            "main" | "lib" => continue,
            "mod" => (folder.file_name().unwrap().to_string_lossy(), folder.parent().unwrap()),
            _ => (stem, folder),
        };
        let parents =
            [parent.join("mod.rs"), parent.join("lib.rs"), parent.join("main.rs"), parent.with_extension("rs")];
        let named = sources
            .iter()
            .filter(|s| parents.iter().any(|p| p == Path::new(&s.path)))
            .any(|s| s.text.lines().any(|l| l.trim_start().ends_with(&format!("mod {name};"))));
        if !named {
            found.push(source.path.clone());
        }
    }
    none("no module declares these files", &found);
}

#[test]
fn every_separate_test_target_is_a_step_of_the_whole() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let steps = fs::read_to_string(root().join("tests/run")).unwrap();
    let steps = steps + &fs::read_to_string(root().join("tests/lib/steps.sh")).unwrap();
    let mut found = Vec::new();
    for target in manifest.split("[[test]]").skip(1) {
        let target = target.split("\n[").next().unwrap_or(target);
        let name = target.lines().find_map(|l| l.strip_prefix("name = ")).unwrap_or("").trim_matches('"');
        if target.contains("test = false") && !steps.contains(&format!("--test {name}")) {
            found.push(name.to_owned());
        }
    }
    none("targets that neither `cargo test` nor `tests/run` runs", &found);
}

/// Targets of inline links outside code blocks.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (at, line) in text.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced || line.starts_with("    ") {
            continue;
        }
        for rest in line.split("](").skip(1) {
            if let Some((target, _)) = rest.split_once(')') {
                found.push((at + 1, target.to_owned()));
            }
        }
    }
    found
}

/// The anchor of a heading as code hosts make it.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

#[test]
fn every_relative_link_in_a_document_leads_somewhere() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|s| s.is("md")) {
        let here = root().join(&source.path);
        for (at, link) in links(&source.text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, fragment) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { here.clone() } else { here.parent().unwrap().join(file) };
            if !target.exists() {
                found.push(format!("{}:{at}: {link}", source.path));
            } else if !fragment.is_empty() && target.extension().is_some_and(|e| e == "md") {
                let text = fs::read_to_string(&target).unwrap();
                if !text.lines().any(|l| l.starts_with('#') && anchor(l) == fragment) {
                    found.push(format!("{}:{at}: {link}: no such heading", source.path));
                }
            }
        }
    }
    none("dead links", &found);
}

#[test]
fn the_rules_see_what_they_look_for() {
    let text =
        "impl A {\n    pub(crate) async fn long<T>(\n        a: T,\n    ) -> T {\n        a\n    }\n}\nfn short() {}\n";
    assert_eq!(functions(text), [(2, "long".to_owned(), 5)]);
    let text = "//! crate::cli\nuse crate::{\n    otlp::{Signal, scan},\n    spool::Log,\n};\ncrate::config::load();\n";
    let named: Vec<String> = crate_modules(text).into_iter().map(|(at, name)| format!("{at} {name}")).collect();
    assert_eq!(named, ["2 otlp", "2 spool", "6 config"]);
    assert_eq!(links("a [b](c.md#d) and [e](f)\n```\n[g](h)\n```\n"), [(1, "c.md#d".into()), (1, "f".into())]);
    assert_eq!(anchor("## What is absent, on purpose"), "what-is-absent-on-purpose");
    let example = "/// A.\n///\n/// ```\n/// assert!(true);\n/// ```\n#[must_use]\npub fn a<T>(b: T) {}\n";
    let others =
        "pub struct C(u8);\npub(crate) fn d() {}\npub use e::F;\n/// ```text\n/// assert\n/// ```\npub enum G {\n";
    let source = Source { path: "a.rs".into(), text: format!("{example}{others}") };
    let items = public_items(&source);
    let items: Vec<(usize, &str, bool)> = items.iter().map(|(at, item, has)| (*at, &**item, *has)).collect();
    assert_eq!(items, [(7, "fn a<T>", true), (8, "struct C", false), (14, "enum G", false)]);
    let source = Source { path: "a.rs".into(), text: "a\n#[cfg(test)]\nmod tests {\n    std::fs\n}\n".into() };
    assert_eq!(source.code().count(), 1);
}
