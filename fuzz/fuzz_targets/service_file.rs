#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bulkhead::fuzz::service_file(bytes));
