//! Answers and misbehaves on request, as a component of `wasi:http` 0.2: it uses only interfaces of WASI and its
//! proposals. The path says what to do; `deeds.rs` lists the paths.

#[cfg(target_family = "wasm")]
mod deeds;
#[cfg(target_family = "wasm")]
mod exchange;
#[cfg(target_family = "wasm")]
mod proposals;
#[cfg(target_family = "wasm")]
mod values;

#[cfg(target_family = "wasm")]
mod component {
    use wasip2::exports::http::incoming_handler::Guest;
    use wasip2::http::types::{IncomingRequest, ResponseOutparam};

    struct HttpFaults;

    impl Guest for HttpFaults {
        fn handle(request: IncomingRequest, answer: ResponseOutparam) {
            crate::deeds::answer(&request, answer);
        }
    }

    wasip2::http::proxy::export!(HttpFaults);
}
