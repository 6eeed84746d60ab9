#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| basilica_fuzz_targets::run("examined", bytes));
