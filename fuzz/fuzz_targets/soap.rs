//! Any bytes as the answer of a vSphere server.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vsphere::fuzzing::soap(bytes));
