//! What the contract's one definition, `guest-sdk/wit`, generates for the host.

wasmtime::component::bindgen!({
    path: "guest-sdk/wit",
    world: "processor",
    // Host calls may step aside as well: see `host`.
    imports: { default: async },
    exports: { default: async },
    // Requests are lowered straight from what the front received.
    ownership: Borrowing { duplicate_if_necessary: false },
});

/// Of processors that take batches as well; the types are the same.
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
