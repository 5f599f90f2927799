//! Detects the kind of request that a body is.

use prost::Message;

use crate::error::Error;
use crate::proto::onnx::DataProto;
use crate::proto::{tensorflow as tf, torch as pt};
use crate::{array, onnx, tensorflow, torch};

/// A request of any kind.
///
/// The official SDKs send all three with the content type `application/octet-stream`, and nothing in the body names its
/// kind. But every tensor states the type of its elements, in a place where the other kinds have something else:
///
/// | | field 1 | field 2 | the type of a tensor's elements |
/// |---|---|---|---|
/// | TensorFlow | a string | named tensors | field 1 of the tensor, a number |
/// | Torch | tensors | numbers | field 1 of the tensor, a number |
/// | ONNX | tensors | | field 3 of the tensor, a number, where Torch has floats |
///
/// A body is taken as the kind under which it can be read and has a tensor of a known type. If an SDK's request carries
/// a tensor, it cannot be read as any other kind.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyRequest {
    /// A request that `TFRequest` of the SDKs sends.
    TensorFlow(tensorflow::Request),
    /// A request that `TorchRequest` of the SDKs sends.
    Torch(torch::Request),
    /// A request that `OnnxRequest` of the SDKs sends.
    Onnx(onnx::Message),
}

impl AnyRequest {
    /// Decodes a body of any kind.
    ///
    /// # Errors
    /// If the bytes are not a request of any kind: the reason for each kind. If they are a request, but a tensor in it
    /// is invalid: that error.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let tensorflow = match tf::PredictRequest::decode(body) {
            Ok(message) if message.inputs.values().any(|array| array::is_type(array.dtype)) => {
                return tensorflow::Request::of_message(message).map(Self::TensorFlow);
            }
            other => why_not(other),
        };
        let torch = match pt::PredictRequest::decode(body) {
            Ok(message)
                if message
                    .inputs
                    .iter()
                    .chain(message.map_inputs.values())
                    .any(|array| array::is_type(array.dtype)) =>
            {
                return torch::Request::of_message(message).map(Self::Torch);
            }
            other => why_not(other),
        };
        let onnx = match DataProto::decode(body) {
            Ok(message) if message.tensors.iter().any(|tensor| onnx::is_type(tensor.data_type)) => {
                return onnx::Message::of_message(message).map(Self::Onnx);
            }
            other => why_not(other),
        };
        Err(Error::Unknown { tensorflow, torch, onnx })
    }
}

fn why_not<M>(message: Result<M, prost::DecodeError>) -> String {
    match message {
        Ok(_) => "it has no tensor".to_owned(),
        Err(cause) => cause.to_string(),
    }
}
