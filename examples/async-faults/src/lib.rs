//! Answers and misbehaves on request, as a component of `wasi:http` 0.3. The path says what to do; `deeds.rs` lists the
//! paths.

#[cfg(target_family = "wasm")]
mod deeds;

#[cfg(target_family = "wasm")]
mod component {
    use wasip3::exports::http::handler::Guest;
    use wasip3::http::types::{ErrorCode, Request, Response};

    struct AsyncFaults;

    impl Guest for AsyncFaults {
        async fn handle(request: Request) -> Result<Response, ErrorCode> {
            crate::deeds::answer(request).await
        }
    }

    wasip3::http::service::export!(AsyncFaults);
}
