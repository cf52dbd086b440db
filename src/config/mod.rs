//! The configuration: what was typed, and what was checked.
//!
//! The language is the OpenTelemetry Collector's YAML. [`load()`] reads every source, merges them, checks everything and
//! gives either a [`Config`], in which every reference resolves, or all [`Faults`] at once, each with its place.
//!
//! ```
//! use tidegate::config::{Sources, load};
//!
//! let sources = Sources { data_dir: Some("/tmp/tidegate".into()), ..Sources::default() };
//! let config = load(&sources)?;
//! assert_eq!(config.pipelines[0].log, "kernel");
//! # Ok::<(), tidegate::config::Faults>(())
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | `yaml`, `node`, `source` | text to a tree in which every value knows its place |
//! | `load`, `expand` | files merged, `--set` laid on top, references replaced |
//! | `fields`, `values`, `units`, `network` | reading a map key by key, every fault collected |
//! | `catalogue`, `names` | which components there are, and what things are called |
//! | `check` | the tree to a [`Config`] |

mod catalogue;
mod check;
mod checked;
mod expand;
mod fault;
mod fields;
mod load;
mod names;
mod network;
mod node;
mod source;
mod units;
mod values;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use check::DataDir;
use fault::Problem;
use fields::Check;

pub use catalogue::{COMPONENTS, Component, Kind};
pub use checked::{Config, Encoding, Exporter, ExporterSettings, Messages, Pipeline, Receiver, Sampling};
pub use fault::{Fault, Faults, Note, Place, Snippet};
pub(crate) use names::SELF_LOG;
pub use names::{Id, PipelineId};
pub use units::duration_argument;

/// The configuration that runs when none is named.
pub const DEFAULT_YAML: &str = include_str!("default.yaml");

/// Where a configuration comes from. `Debug` shows the names of environment variables, never their values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// Files in the order in which they merge, as `path`, `file:path` or `env:NAME`; empty: [`DEFAULT_YAML`].
    pub files: Vec<String>,
    /// `path=value`, set after all files.
    pub sets: Vec<String>,
    /// The data directory, above what the files say.
    pub data_dir: Option<PathBuf>,
    /// The environment that `${env:NAME}` reads.
    pub env: BTreeMap<String, String>,
    /// Whether the process is root, which decides the default data directory.
    pub root: bool,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Taken apart, so that a new field has to be thought of here.
        let Self { files, sets, data_dir, env, root } = self;
        f.debug_struct("Sources")
            .field("files", files)
            .field("sets", &sets.iter().filter_map(|set| set.split('=').next()).collect::<Vec<_>>())
            .field("data_dir", data_dir)
            .field("env", &env.keys().collect::<Vec<_>>())
            .field("root", root)
            .finish()
    }
}

impl Sources {
    /// These sources, with this process's environment and user.
    #[must_use]
    pub fn of_process(files: Vec<String>, sets: Vec<String>, data_dir: Option<PathBuf>) -> Self {
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { files, sets, data_dir, env, root: rustix::process::geteuid().is_root() }
    }

    /// `/var/lib/tidegate` as root, else `${XDG_STATE_HOME:-~/.local/state}/tidegate`.
    fn default_data_dir(&self) -> Result<PathBuf, Problem> {
        // As the XDG specification says, what is no absolute path is not set.
        let absolute = |name: &str| self.env.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
        if self.root {
            return Ok(PathBuf::from("/var/lib/tidegate"));
        }
        absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .map(|state| state.join("tidegate"))
            .ok_or_else(|| {
                Problem::new("no data directory: neither XDG_STATE_HOME nor HOME is set")
                    .suggest("name one with --data-dir or TIDEGATE_DATA_DIR")
            })
    }
}

/// Reads, merges and checks. Of the data directory's names, `sources.data_dir` wins, then what the configuration
/// says, then the default.
///
/// # Errors
/// Every fault found. A text that is no YAML hides what stands in the others.
pub fn load(sources: &Sources) -> Result<Config, Faults> {
    let mut typed = load::read(sources);
    let mut check = Check::new(&typed.sources);
    for problem in typed.problems.drain(..) {
        if typed.broken { check.syntax_fault(problem) } else { check.fault(None, "", problem) }
    }
    if typed.broken {
        let (faults, notes) = check.finish();
        return Err(Faults { faults, notes });
    }
    let data_dir = find_data_dir(&mut check, sources, &typed.root);
    let mut expander = expand::Expander::new(&sources.env, Some(&data_dir.path));
    expander.expand(&mut typed.root, "");
    for (path, problem) in expander.problems {
        check.settle(&path, problem);
    }
    for (path, at, message) in expander.notes {
        check.note(Some(at), &path, message);
    }
    let config = check::config(&mut check, &typed.root, &data_dir);
    let (faults, notes) = check.finish();
    if faults.is_empty() { Ok(Config { notes, ..config }) } else { Err(Faults { faults, notes }) }
}

fn find_data_dir(check: &mut Check<'_>, sources: &Sources, root: &node::Node) -> DataDir {
    let (named, problems) = check::named_directory(root, &sources.env);
    for (path, problem) in problems {
        check.settle(&path, problem);
    }
    if let Some(path) = &sources.data_dir {
        return DataDir { path: path.clone(), given: true };
    }
    let path = named.map_or_else(|| sources.default_data_dir(), Ok).unwrap_or_else(|problem| {
        check.fault(None, "", problem);
        PathBuf::new()
    });
    DataDir { path, given: false }
}
