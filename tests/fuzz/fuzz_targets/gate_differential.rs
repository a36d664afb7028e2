//! The fuzz target `gate_differential`; what it asserts is in the module of that name.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| signerd_fuzz::gate_differential::check(data));
