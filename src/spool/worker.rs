//! Who runs the writers and the housekeeper: a thread each; in a simulation the test itself, turn by turn.

#[cfg(test)]
use std::sync::Mutex;
use std::thread::JoinHandle;

use super::Error;
use super::env::Env;

/// Something that acts until it is told to end.
pub(crate) trait Work: std::fmt::Debug + Send {
    /// Waits for something to do and does it, until it is told to end.
    fn run(self: Box<Self>) -> Result<(), Error>;
    /// Does what there is to do now and never waits. `Some` when it was told to end.
    #[cfg(test)]
    fn turn(&mut self) -> Option<Result<(), Error>>;
}

/// Where workers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runner {
    /// Each on a thread of its own.
    Threads,
    /// Nowhere by themselves: a simulation takes their turns.
    #[cfg(test)]
    Hand,
}

/// Work that was begun.
#[derive(Debug)]
pub(crate) enum Worker {
    Thread(JoinHandle<Result<(), Error>>),
    #[cfg(test)]
    Hand(Mutex<Box<dyn Work>>),
}

impl Worker {
    pub(crate) fn start(env: &Env, name: &str, work: impl Work + 'static) -> std::io::Result<Self> {
        let work = Box::new(work);
        match env.runner {
            Runner::Threads => {
                let thread = std::thread::Builder::new().name(name.to_owned());
                thread.spawn(move || work.run()).map(Self::Thread)
            }
            #[cfg(test)]
            Runner::Hand => Ok(Self::Hand(Mutex::new(work))),
        }
    }

    /// Waits until it has ended, as it was told.
    pub(crate) fn join(self) -> Result<(), Error> {
        match self {
            Self::Thread(thread) => thread.join().unwrap_or_else(|_| Err(Error::closed("(its thread ended)"))),
            #[cfg(test)]
            Self::Hand(work) => super::env::lock(&work).turn().expect("told to end, it ends within a turn"),
        }
    }

    /// Does what there is to do now.
    #[cfg(test)]
    pub(crate) fn turn(&self) {
        if let Self::Hand(work) = self {
            assert!(super::env::lock(work).turn().is_none(), "nobody told it to end");
        }
    }
}
