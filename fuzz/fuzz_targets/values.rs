//! Any bytes as the content of a property.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vsphere::fuzzing::value(bytes));
