#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mimawari_fuzz::manifest(data));
