//! Bindings generated from `wit/`, and conversions between the generated types and those that authors use.

#![expect(clippy::too_many_arguments, reason = "generated functions take the fields of a record one by one")]
#![expect(missing_docs, reason = "generated items are described in `wit/`")]

use std::path::PathBuf;

use self::bulkhead::processor::call;
use crate::call::Call;

wit_bindgen::generate!({
    path: "wit",
    world: "processor",
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "bulkhead_guest::component",
});

/// Bindings of processors that take batches as well; the types are the same.
pub mod batch {
    wit_bindgen::generate!({
        path: "wit",
        world: "batch-processor",
        pub_export_macro: true,
        export_macro_name: "export_batch_component",
        default_bindings_module: "bulkhead_guest::component::batch",
        with: {
            "bulkhead:processor/types@0.1.0": crate::bindings::bulkhead::processor::types,
            "bulkhead:processor/call@0.1.0": crate::bindings::bulkhead::processor::call,
        },
    });
}

/// Bindings of processors that report progress and keep partial results; the types are the same.
pub mod job {
    wit_bindgen::generate!({
        path: "wit",
        world: "job-processor",
        default_bindings_module: "bulkhead_guest::component::job",
        with: {
            "bulkhead:processor/types@0.1.0": crate::bindings::bulkhead::processor::types,
            "bulkhead:processor/call@0.1.0": crate::bindings::bulkhead::processor::call,
        },
    });
}

/// Bindings of processors that stream their answers; the types are the same.
pub mod streaming {
    wit_bindgen::generate!({
        path: "wit",
        world: "streaming-processor",
        default_bindings_module: "bulkhead_guest::component::streaming",
        with: {
            "bulkhead:processor/types@0.1.0": crate::bindings::bulkhead::processor::types,
            "bulkhead:processor/call@0.1.0": crate::bindings::bulkhead::processor::call,
        },
    });
}

impl From<Model> for crate::Model {
    fn from(model: Model) -> Self {
        Self { dir: model.dir.map(PathBuf::from), entry: model.entry, config: model.config }
    }
}

impl From<Request> for crate::Request {
    fn from(request: Request) -> Self {
        translated(request, Call::only())
    }
}

/// Converts the requests of a batch, in order.
pub(crate) fn batch_of(requests: Vec<Request>) -> Vec<crate::Request> {
    (0..).zip(requests).map(|(index, request)| translated(request, Call::of_batch(index))).collect()
}

fn translated(request: Request, call: Call) -> crate::Request {
    let Request { method, path, query, content_type, body } = request;
    crate::Request { method, path, query, content_type, body, call }
}

impl From<crate::Response> for Response {
    fn from(response: crate::Response) -> Self {
        Self {
            status: response.status,
            content_type: response.content_type,
            headers: response.headers,
            body: response.body,
        }
    }
}

impl From<crate::Error> for Failure {
    fn from(error: crate::Error) -> Self {
        Self { status: error.status, message: error.message }
    }
}

impl From<crate::Level> for call::Level {
    fn from(level: crate::Level) -> Self {
        match level {
            crate::Level::Error => Self::Error,
            crate::Level::Warn => Self::Warn,
            crate::Level::Info => Self::Info,
            crate::Level::Debug => Self::Debug,
            crate::Level::Trace => Self::Trace,
        }
    }
}
