//! What becomes a log record: the catalogue of events, who and when they are, and their bytes.

pub(super) mod catalogue;
pub(super) mod clock;
pub(super) mod collector;
pub(super) mod encode;
pub(super) mod event;
pub(super) mod host;
pub(super) mod teller;
pub(super) mod uid;
