//! The wire protocol of queues, as clients of EAS use it: requests to operations, items to bytes. Pure functions,
//! without connections and storage.

pub(crate) mod attributes;
pub(crate) mod duration;
pub(crate) mod frame;
pub(crate) mod headers;
pub(crate) mod negative;
pub(crate) mod operation;
mod parameters;
mod query;
pub(crate) mod refused;
