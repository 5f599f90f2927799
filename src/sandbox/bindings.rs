//! What the contract's one definition, `guest-sdk/wit/processor.wit`, generates for the host.

wasmtime::component::bindgen!({
    path: "guest-sdk/wit",
    world: "processor",
    // Host calls may step aside as well: see `host`.
    imports: { default: async },
    exports: { default: async },
    // Requests are lowered straight from what the front received.
    ownership: Borrowing { duplicate_if_necessary: false },
});
