//! The configuration: what was typed, and what was checked.
