//! Bindings of the proposals of WASI that are not in WASI 0.2.

pub(crate) mod config {
    wit_bindgen::generate!({ path: "../../src/sandbox/wit/config.wit" });
    pub(crate) use self::wasi::config::store;
}

pub(crate) mod logging {
    wit_bindgen::generate!({ path: "../../src/sandbox/wit/logging.wit" });
    pub(crate) use self::wasi::logging::logging;
}

pub(crate) mod keyvalue {
    wit_bindgen::generate!({ path: "../../src/sandbox/wit/keyvalue.wit" });
    pub(crate) use self::wasi::keyvalue::{atomics, batch, store};
}
