//! The body of a request: received within its limits, decompressed, and checked against its digest.

pub(in crate::front) mod digest;
pub(in crate::front) mod offload;
pub(in crate::front) mod packing;
pub(in crate::front) mod receive;
