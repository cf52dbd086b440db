//! A run in episodes. Each has a seed of its own and begins anew, and what is done is written down: a long run that
//! was ended goes on where it stood.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;

/// A run that is under way.
#[derive(Debug)]
pub(crate) struct LongRun {
    name: String,
    seed: u64,
    cycles: u64,
    done: u64,
    seconds: u64,
    tally: Tally,
    file: PathBuf,
}

/// One part of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Episode {
    pub(crate) seed: u64,
    pub(crate) cycles: u64,
}

/// Named figures: sums, and those whose name ends in `max`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally(BTreeMap<String, u64>);

impl LongRun {
    /// As `TIDEGATE_<FAMILY>_CYCLES` and `TIDEGATE_<FAMILY>_SEED` say, else `cycles` with a seed by chance. A seed
    /// whose run was ended goes on.
    pub(crate) fn new(family: &str, name: &str, cycles: u64) -> Self {
        let cycles = environment(&format!("TIDEGATE_{family}_CYCLES")).unwrap_or(cycles);
        let seed = seed(family);
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{seed}.json", name.replace(' ', "-")));
        let mut run = Self { name: name.to_owned(), seed, cycles, done: 0, seconds: 0, tally: Tally::default(), file };
        run.take_up();
        // The test program has begun a line with the test's name.
        println!();
        println!(
            "figure: {name}: {cycles} cycles, seed {seed} (TIDEGATE_{family}_SEED goes on with it), {} done",
            run.done
        );
        run
    }

    /// Plays episodes of at most `length` cycles until all are done.
    pub(crate) fn play(mut self, length: u64, mut episode: impl FnMut(Episode) -> Tally) -> Tally {
        while self.done < self.cycles {
            let began = Instant::now();
            let next = Episode { seed: self.seed.wrapping_add(self.done), cycles: length.min(self.cycles - self.done) };
            self.tally.add(&episode(next));
            self.done += next.cycles;
            self.seconds += began.elapsed().as_secs();
            self.write_down();
            println!("{}: {} of {} cycles, {} s; {}", self.name, self.done, self.cycles, self.seconds, self.tally);
        }
        println!("figure: {}: {} cycles in {} s; {}", self.name, self.done, self.seconds, self.tally);
        // A finished run with the same seed is a repetition. One without an episode has no file.
        #[allow(clippy::disallowed_methods, reason = "a note of the test's own")]
        drop(std::fs::remove_file(&self.file));
        self.tally
    }

    fn take_up(&mut self) {
        let Ok(text) = std::fs::read_to_string(&self.file) else { return };
        let kept: serde_json::Value = serde_json::from_str(&text).unwrap();
        self.done = kept["done"].as_u64().unwrap();
        self.seconds = kept["seconds"].as_u64().unwrap();
        let figures = kept["tally"].as_object().unwrap();
        self.tally.0 = figures.iter().map(|(name, value)| (name.clone(), value.as_u64().unwrap())).collect();
    }

    #[allow(clippy::disallowed_methods, reason = "a note of the test's own")]
    fn write_down(&self) {
        let note = json!({ "done": self.done, "seconds": self.seconds, "tally": self.tally.0 });
        std::fs::write(&self.file, note.to_string()).unwrap();
    }
}

impl Tally {
    pub(crate) fn count(&mut self, name: &str, value: u64) {
        let figure = self.0.entry(name.to_owned()).or_default();
        *figure = if name.ends_with("max") { value.max(*figure) } else { *figure + value };
    }

    pub(crate) fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(name, value)| self.count(name, *value));
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures: Vec<String> =
            self.0.iter().map(|(name, value)| format!("{} {value}", name.replace('_', " "))).collect();
        f.write_str(&figures.join(", "))
    }
}

/// What `TIDEGATE_<FAMILY>_SEED` says, else one by chance.
pub(crate) fn seed(family: &str) -> u64 {
    environment(&format!("TIDEGATE_{family}_SEED")).unwrap_or_else(|| fastrand::u64(..))
}

fn environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")))
}
