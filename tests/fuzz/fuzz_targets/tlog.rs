//! The fuzz target `tlog`; what it asserts is in the module of that name.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| signerd_fuzz::tlog::check(data));
