//! Benchmarks, kept in a package of their own so that the crate stays small.
fn main() {}
