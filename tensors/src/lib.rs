//! The tensor messages of PAI-EAS for processors and clients: the requests that `TFRequest`, `TorchRequest` and
//! `OnnxRequest` of the official SDKs send, and the responses that they expect.
//!
#![doc = include_str!("front_page.md")]
#![doc(test(attr(deny(warnings))))]
#![warn(missing_docs)]

mod any;
mod array;
mod element;
mod error;
pub mod onnx;
mod proto;
mod signature;
mod tensor;
pub mod tensorflow;
pub mod torch;

pub use crate::{
    any::AnyRequest,
    element::{Data, Element, ElementType},
    error::{Error, TensorError},
    signature::Signature,
    tensor::Tensor,
};
pub use half::{bf16, f16};

/// The examples of the README, which are compiled as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
