#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidegate::spool::fuzz::segment_header(bytes));
