//! What is in the kernel: which programs are attached, with which settings, and what became of the rest.

pub(super) mod attach;
pub(super) mod btf;
pub(super) mod hooks;
pub(super) mod list;
pub(super) mod object;
pub(super) mod reasons;
pub(super) mod report;
pub(super) mod rights;
pub(super) mod ring;
pub(super) mod standing;
pub(super) mod units;
