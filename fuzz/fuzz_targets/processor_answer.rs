#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bulkhead::fuzz::processor_answer(bytes));
