//! Messages of EAS's PyTorch processor: tensors by number, or by name for models that take a dictionary.

use std::collections::BTreeMap;

use prost::Message;

use crate::array;
use crate::error::Error;
use crate::proto::torch::{ArrayProto, PredictRequest, PredictResponse};
use crate::tensor::Tensor;

pub(crate) const REQUEST: &str = "Torch request";
const RESPONSE: &str = "Torch response";

/// A message that `TorchRequest` of the SDKs sends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The inputs in order.
    pub inputs: Vec<Tensor>,
    /// Inputs by name, for models that take a dictionary.
    pub map_inputs: BTreeMap<String, Tensor>,
    /// Indices of the requested outputs; all of them if empty.
    pub output_filter: Vec<i32>,
    /// The field `debug_level` of the message, for EAS's own processor. Bulkhead does not read it.
    pub debug_level: i32,
}

impl Request {
    /// Adds the next input.
    #[must_use]
    pub fn with_input(mut self, tensor: Tensor) -> Self {
        self.inputs.push(tensor);
        self
    }

    /// Adds an input by name. It replaces one of the same name.
    #[must_use]
    pub fn with_map_input(mut self, name: impl Into<String>, tensor: Tensor) -> Self {
        self.map_inputs.insert(name.into(), tensor);
        self
    }

    /// Requests this output. Without any such call, all outputs are requested.
    #[must_use]
    pub fn with_output(mut self, index: i32) -> Self {
        self.output_filter.push(index);
        self
    }

    /// Returns an input by number.
    ///
    /// # Errors
    /// If there are fewer inputs.
    pub fn input(&self, index: usize) -> Result<&Tensor, Error> {
        find(&self.inputs, "inputs", index)
    }

    /// True if the request asks for the output of this number.
    #[must_use]
    pub fn wants(&self, output: usize) -> bool {
        let is_it = |wanted: &i32| usize::try_from(*wanted) == Ok(output);
        self.output_filter.is_empty() || self.output_filter.iter().any(is_it)
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
        let PredictRequest { inputs, output_filter, map_inputs, debug_level } = message;
        let (inputs, map_inputs) = (read(inputs, "inputs")?, read_map(map_inputs, "map_inputs")?);
        Ok(Self { inputs, map_inputs, output_filter, debug_level })
    }

    /// Encodes the request.
    ///
    /// # Errors
    /// If these messages cannot hold the element type of a tensor.
    pub fn encode(self) -> Result<Vec<u8>, Error> {
        let Self { inputs, map_inputs, output_filter, debug_level } = self;
        let (inputs, map_inputs) = (write(inputs, "inputs")?, write_map(map_inputs, "map_inputs")?);
        Ok(PredictRequest { inputs, output_filter, map_inputs, debug_level }.encode_to_vec())
    }
}

/// A message that `TorchResponse` of the SDKs reads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// The outputs in order.
    pub outputs: Vec<Tensor>,
    /// Outputs by name, of models that return a dictionary.
    pub map_outputs: BTreeMap<String, Tensor>,
}

impl Response {
    /// Adds the next output.
    #[must_use]
    pub fn with_output(mut self, tensor: Tensor) -> Self {
        self.outputs.push(tensor);
        self
    }

    /// Adds an output by name. It replaces one of the same name.
    #[must_use]
    pub fn with_map_output(mut self, name: impl Into<String>, tensor: Tensor) -> Self {
        self.map_outputs.insert(name.into(), tensor);
        self
    }

    /// Returns an output by number.
    ///
    /// # Errors
    /// If there are fewer outputs.
    pub fn output(&self, index: usize) -> Result<&Tensor, Error> {
        find(&self.outputs, "outputs", index)
    }

    /// Decodes a response.
    ///
    /// # Errors
    /// If the bytes are not such a message, or a tensor in it is invalid.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let message = PredictResponse::decode(body).map_err(|cause| Error::malformed(RESPONSE, &cause))?;
        let (outputs, map_outputs) = (read(message.outputs, "outputs")?, read_map(message.map_outputs, "map_outputs")?);
        Ok(Self { outputs, map_outputs })
    }

    /// Encodes the response.
    ///
    /// # Errors
    /// If these messages cannot hold the element type of a tensor.
    pub fn encode(self) -> Result<Vec<u8>, Error> {
        let (outputs, map_outputs) = (write(self.outputs, "outputs")?, write_map(self.map_outputs, "map_outputs")?);
        Ok(PredictResponse { outputs, map_outputs }.encode_to_vec())
    }
}

fn find<'a>(tensors: &'a [Tensor], field: &str, index: usize) -> Result<&'a Tensor, Error> {
    let there = || match tensors.len() {
        0 => Vec::new(),
        1 => vec![format!("{field}[0]")],
        several => vec![format!("{field}[0] to {field}[{}]", several - 1)],
    };
    tensors.get(index).ok_or_else(|| Error::Missing { what: format!("{field}[{index}]"), there: there() })
}

fn read(arrays: Vec<ArrayProto>, field: &str) -> Result<Vec<Tensor>, Error> {
    let tensors = arrays
        .into_iter()
        .enumerate()
        .map(|(index, array)| array::read_torch(array).map_err(|error| error.of(format!("{field}[{index}]"))));
    tensors.collect()
}

fn read_map(arrays: BTreeMap<String, ArrayProto>, field: &str) -> Result<BTreeMap<String, Tensor>, Error> {
    let tensors = arrays.into_iter().map(|(name, array)| match array::read_torch(array) {
        Ok(tensor) => Ok((name, tensor)),
        Err(error) => Err(error.of(format!("{field}[{name:?}]"))),
    });
    tensors.collect()
}

fn write(tensors: Vec<Tensor>, field: &str) -> Result<Vec<ArrayProto>, Error> {
    let arrays = tensors
        .into_iter()
        .enumerate()
        .map(|(index, tensor)| array::write_torch(tensor).map_err(|error| error.of(format!("{field}[{index}]"))));
    arrays.collect()
}

fn write_map(tensors: BTreeMap<String, Tensor>, field: &str) -> Result<BTreeMap<String, ArrayProto>, Error> {
    let arrays = tensors.into_iter().map(|(name, tensor)| match array::write_torch(tensor) {
        Ok(array) => Ok((name, array)),
        Err(error) => Err(error.of(format!("{field}[{name:?}]"))),
    });
    arrays.collect()
}
