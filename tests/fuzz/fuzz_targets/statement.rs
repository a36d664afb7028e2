//! The fuzz target `statement`; what it asserts is in the module of that name.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| signerd_fuzz::statement::check(data));
