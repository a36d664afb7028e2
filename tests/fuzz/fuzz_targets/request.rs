//! The fuzz target `request`; what it asserts is in the module of that name.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| signerd_fuzz::request::check(data));
