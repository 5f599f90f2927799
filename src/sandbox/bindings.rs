//! The bindings for the host, generated from the only definition of the contract, `guest-sdk/wit`.

wasmtime::component::bindgen!({
    path: "guest-sdk/wit",
    world: "processor",
    // Host calls may yield as well: see `host`.
    imports: { default: async },
    exports: { default: async },
    // Requests are lowered directly from the data that the front received.
    ownership: Borrowing { duplicate_if_necessary: false },
});

/// The bindings of processors that report progress and keep partial results. The types are the same.
pub(super) mod job {
    wasmtime::component::bindgen!({
        path: "guest-sdk/wit",
        world: "job-processor",
        imports: { default: async },
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: false },
        with: {
            "bulkhead:processor/types": super::bulkhead::processor::types,
            "bulkhead:processor/call": super::bulkhead::processor::call,
        },
    });
}

/// The bindings of processors that stream their answers. The types are the same.
pub(super) mod streaming {
    wasmtime::component::bindgen!({
        path: "guest-sdk/wit",
        world: "streaming-processor",
        imports: { default: async },
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: false },
        with: {
            "bulkhead:processor/types": super::bulkhead::processor::types,
            "bulkhead:processor/call": super::bulkhead::processor::call,
        },
    });
}

/// The bindings of processors that also take batches. The types are the same.
pub(super) mod batch {
    wasmtime::component::bindgen!({
        path: "guest-sdk/wit",
        world: "batch-processor",
        imports: { default: async },
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: false },
        with: {
            "bulkhead:processor/types": super::bulkhead::processor::types,
            "bulkhead:processor/call": super::bulkhead::processor::call,
        },
    });
}

/// The bindings of `wasi:logging`.
pub(super) mod logging {
    wasmtime::component::bindgen!({
        path: "src/sandbox/wit/logging.wit",
        imports: { default: async },
    });
}

/// The bindings of `wasi:config`.
pub(super) mod config {
    wasmtime::component::bindgen!({
        path: "src/sandbox/wit/config.wit",
        imports: { default: async },
    });
}

/// The bindings of `wasi:keyvalue`.
pub(super) mod keyvalue {
    wasmtime::component::bindgen!({
        path: "src/sandbox/wit/keyvalue.wit",
        imports: { default: async | trappable },
        with: {
            "wasi:keyvalue/store.bucket": crate::sandbox::host::Bucket,
            "wasi:keyvalue/atomics.cas": crate::sandbox::host::Cas,
        },
    });
}
