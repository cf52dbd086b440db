//! How many files and connections the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Takes what the operator allows. A shell gives a process 1,024, for the sake of `select(2)`, which nobody calls here; the
/// connections of two protocols and the files of the logs are more.
pub(super) fn take_all() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // One that is refused stays as it was: then a connection that is too many waits.
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap_or_default();
}
