//! Requests and answers with tensors, as `TFRequest`, `TorchRequest` and `OnnxRequest` of the official SDKs.

use bulkhead_tensors::{onnx, tensorflow, torch};

use crate::error::{Error, Unread};
use crate::{Client, Request};

impl Client {
    /// Sends the inputs of a TensorFlow model and returns its outputs.
    ///
    /// # Errors
    /// As [`Client::call`]; [`Error::Request`] if a tensor cannot be sent, [`Error::Response`] if the answer is not
    /// such a message.
    pub async fn predict_tensorflow(&self, request: tensorflow::Request) -> Result<tensorflow::Response, Error> {
        self.exchange_tensors(request.encode(), tensorflow::Response::decode).await
    }

    /// Sends the inputs of a PyTorch model and returns its outputs.
    ///
    /// # Errors
    /// As [`predict_tensorflow`](Self::predict_tensorflow).
    pub async fn predict_torch(&self, request: torch::Request) -> Result<torch::Response, Error> {
        self.exchange_tensors(request.encode(), torch::Response::decode).await
    }

    /// Sends the inputs of an ONNX model and returns its outputs, in a message of the same kind.
    ///
    /// # Errors
    /// As [`predict_tensorflow`](Self::predict_tensorflow).
    pub async fn predict_onnx(&self, request: onnx::Message) -> Result<onnx::Message, Error> {
        self.exchange_tensors(request.encode(), onnx::Message::decode).await
    }

    async fn exchange_tensors<T>(
        &self,
        body: Result<Vec<u8>, bulkhead_tensors::Error>,
        decode: impl FnOnce(&[u8]) -> Result<T, bulkhead_tensors::Error>,
    ) -> Result<T, Error> {
        let body = body.map_err(|error| Error::Request(error.to_string()))?;
        let response = self.call(&Request::new(body)).await?;
        decode(&response.body).map_err(|error| response.unreadable(Unread::Malformed(error.to_string())))
    }
}
