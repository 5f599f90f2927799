//! Messages of EAS's TensorFlow processor: tensors by name.

use std::collections::BTreeMap;

use prost::Message;

use crate::array;
use crate::error::Error;
use crate::proto::tensorflow::{ArrayProto, PredictRequest, PredictResponse};
use crate::tensor::Tensor;

pub(crate) const REQUEST: &str = "TensorFlow request";
const RESPONSE: &str = "TensorFlow response";

/// A message that `TFRequest` of the SDKs sends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The name of the model's signature to run.
    pub signature_name: String,
    /// The inputs by name.
    pub inputs: BTreeMap<String, Tensor>,
    /// The requested outputs; all of them if empty.
    pub output_filter: Vec<String>,
}

impl Request {
    /// Makes a request without inputs. Models with one signature call it `serving_default`.
    #[must_use]
    pub fn new(signature_name: impl Into<String>) -> Self {
        Self { signature_name: signature_name.into(), ..Self::default() }
    }

    /// Adds an input. It replaces one of the same name.
    #[must_use]
    pub fn with_input(mut self, name: impl Into<String>, tensor: Tensor) -> Self {
        self.inputs.insert(name.into(), tensor);
        self
    }

    /// Requests this output. Without any such call, all outputs are requested.
    #[must_use]
    pub fn with_output(mut self, name: impl Into<String>) -> Self {
        self.output_filter.push(name.into());
        self
    }

    /// Returns an input by name.
    ///
    /// # Errors
    /// If there is no such input. The error lists the names that exist.
    pub fn input(&self, name: &str) -> Result<&Tensor, Error> {
        find(&self.inputs, "input", name)
    }

    /// True if the request asks for this output.
    #[must_use]
    pub fn wants(&self, output: &str) -> bool {
        self.output_filter.is_empty() || self.output_filter.iter().any(|wanted| wanted == output)
    }

    /// Decodes a request.
    ///
    /// # Errors
    /// If the bytes are not such a message, or a tensor in it is invalid.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let message = PredictRequest::decode(body).map_err(|cause| Error::malformed(REQUEST, &cause))?;
        Self::of_message(message)
    }

    pub(crate) fn of_message(message: PredictRequest) -> Result<Self, Error> {
        let PredictRequest { signature_name, inputs, output_filter } = message;
        Ok(Self { signature_name, inputs: read(inputs, "inputs")?, output_filter })
    }

    /// Encodes the request.
    ///
    /// # Errors
    /// If these messages cannot hold the element type of a tensor.
    pub fn encode(self) -> Result<Vec<u8>, Error> {
        let Self { signature_name, inputs, output_filter } = self;
        let inputs = write(inputs, "inputs")?;
        Ok(PredictRequest { signature_name, inputs, output_filter }.encode_to_vec())
    }
}

/// A message that `TFResponse` of the SDKs reads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// The outputs by name.
    pub outputs: BTreeMap<String, Tensor>,
}

impl Response {
    /// Adds an output. It replaces one of the same name.
    #[must_use]
    pub fn with_output(mut self, name: impl Into<String>, tensor: Tensor) -> Self {
        self.outputs.insert(name.into(), tensor);
        self
    }

    /// Returns an output by name.
    ///
    /// # Errors
    /// If there is no such output. The error lists the names that exist.
    pub fn output(&self, name: &str) -> Result<&Tensor, Error> {
        find(&self.outputs, "output", name)
    }

    /// Decodes a response.
    ///
    /// # Errors
    /// If the bytes are not such a message, or a tensor in it is invalid.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let message = PredictResponse::decode(body).map_err(|cause| Error::malformed(RESPONSE, &cause))?;
        Ok(Self { outputs: read(message.outputs, "outputs")? })
    }

    /// Encodes the response.
    ///
    /// # Errors
    /// If these messages cannot hold the element type of a tensor.
    pub fn encode(self) -> Result<Vec<u8>, Error> {
        Ok(PredictResponse { outputs: write(self.outputs, "outputs")? }.encode_to_vec())
    }
}

fn find<'a>(tensors: &'a BTreeMap<String, Tensor>, what: &str, name: &str) -> Result<&'a Tensor, Error> {
    let missing = || Error::Missing {
        what: format!("{what} {name:?}"),
        there: tensors.keys().map(|name| format!("{name:?}")).collect(),
    };
    tensors.get(name).ok_or_else(missing)
}

fn read(arrays: BTreeMap<String, ArrayProto>, field: &str) -> Result<BTreeMap<String, Tensor>, Error> {
    let tensors = arrays.into_iter().map(|(name, array)| match array::read_tensorflow(array) {
        Ok(tensor) => Ok((name, tensor)),
        Err(error) => Err(error.of(format!("{field}[{name:?}]"))),
    });
    tensors.collect()
}

fn write(tensors: BTreeMap<String, Tensor>, field: &str) -> Result<BTreeMap<String, ArrayProto>, Error> {
    let arrays = tensors.into_iter().map(|(name, tensor)| match array::write_tensorflow(tensor) {
        Ok(array) => Ok((name, array)),
        Err(error) => Err(error.of(format!("{field}[{name:?}]"))),
    });
    arrays.collect()
}
