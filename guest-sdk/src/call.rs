//! The source of a call's headers, id and time left: the host on Wasm, the request itself in native tests.
//!
//! Both have the same functions, so the other modules need not know which one is compiled in.

#[cfg(not(target_family = "wasm"))]
pub(crate) use given::Call;
#[cfg(target_family = "wasm")]
pub(crate) use host::Call;

#[cfg(target_family = "wasm")]
mod host {
    use std::time::Duration;

    use crate::bindings::batch::bulkhead::processor::batch;
    use crate::bindings::bulkhead::processor::call;

    /// A call answered by the host, which knows the call in progress. In a batch, `select` names the request to
    /// the host.
    #[derive(Clone, Debug)]
    pub(crate) struct Call(Option<Place>);

    /// The position of a call in its batch. It carries the function `select`, so that processors without batches, which
    /// never make a `Place`, do not import it.
    #[derive(Clone, Copy, Debug)]
    struct Place {
        index: u32,
        select: fn(u32),
    }

    impl Call {
        pub(crate) const fn only() -> Self {
            Self(None)
        }

        pub(crate) fn of_batch(index: u32) -> Self {
            Self(Some(Place { index, select: batch::select }))
        }

        /// Makes this the call that the host answers about and assigns log lines to.
        pub(crate) fn select(&self) {
            if let Some(Place { index, select }) = self.0 {
                select(index);
            }
        }

        pub(crate) fn header(&self, name: &str) -> Option<String> {
            self.select();
            call::header(name)
        }

        pub(crate) fn headers(&self) -> Vec<(String, String)> {
            self.select();
            call::headers()
        }

        pub(crate) fn request_id(&self) -> String {
            self.select();
            call::request_id()
        }

        pub(crate) fn remaining(&self) -> Duration {
            self.select();
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
                remaining: Duration::from_secs(5), // the default timeout of a service
            }
        }
    }

    impl Call {
        pub(crate) fn select(&self) {}

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
