//! Who answers questions about the call: the host on Wasm, the request itself in native tests.
//!
//! Both have the same functions, so nothing else needs to know which of them it has.

#[cfg(not(target_family = "wasm"))]
pub(crate) use given::Call;
#[cfg(target_family = "wasm")]
pub(crate) use host::Call;

#[cfg(target_family = "wasm")]
mod host {
    use std::time::Duration;

    use crate::bindings::bulkhead::processor::call;

    /// Empty: the host knows which call this guest is answering.
    #[derive(Clone, Debug)]
    pub(crate) struct Call;

    impl Call {
        pub(crate) fn header(&self, name: &str) -> Option<String> {
            call::header(name)
        }

        pub(crate) fn headers(&self) -> Vec<(String, String)> {
            call::headers()
        }

        pub(crate) fn request_id(&self) -> String {
            call::request_id()
        }

        pub(crate) fn remaining(&self) -> Duration {
            Duration::from_millis(call::remaining_ms())
        }
    }
}

#[cfg(not(target_family = "wasm"))]
mod given {
    use std::time::Duration;

    #[derive(Clone, Debug)]
    pub(crate) struct Call {
        pub(crate) headers: Vec<(String, String)>,
        pub(crate) request_id: String,
        pub(crate) remaining: Duration,
    }

    impl Default for Call {
        fn default() -> Self {
            Self {
                headers: Vec::new(),
                request_id: "test".to_owned(),
                remaining: Duration::from_secs(5), // what a service has unless its file says otherwise
            }
        }
    }

    impl Call {
        pub(crate) fn header(&self, name: &str) -> Option<String> {
            self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
        }

        pub(crate) fn headers(&self) -> Vec<(String, String)> {
            self.headers.clone()
        }

        pub(crate) fn request_id(&self) -> String {
            self.request_id.clone()
        }

        pub(crate) fn remaining(&self) -> Duration {
            self.remaining
        }
    }
}
