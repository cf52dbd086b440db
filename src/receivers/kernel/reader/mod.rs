//! The thread between the rings and the log, and its accounts of what was lost.

pub(super) mod episodes;
pub(super) mod gaps;
pub(super) mod loss;
pub(super) mod outbox;
pub(super) mod run;
pub(super) mod source;
pub(super) mod turn;
pub(super) mod worker;
