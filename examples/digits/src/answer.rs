//! The model's results, encoded in the form of the request.

use bulkhead_guest::{Error, Response};
use bulkhead_tensors::{Tensor, onnx, tensorflow, torch};
use serde::Serialize;

pub const DIGITS: usize = 10;
/// The outputs that tensor requests may ask for, by name or by number: float \[n, 10\], and int64 \[n\].
pub const OUTPUTS: [&str; 2] = ["probabilities", "labels"];

/// The model's result for one picture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Guess {
    pub label: usize,
    pub probabilities: [f32; DIGITS],
}

/// The form of an answer. An empty list of outputs requests all of them.
#[derive(Debug, PartialEq)]
pub enum Form {
    /// The answer for a single picture.
    JsonObject,
    JsonList,
    TensorFlow {
        outputs: Vec<String>,
    },
    /// The outputs, in the order of the answer.
    Torch {
        outputs: Vec<usize>,
    },
    Onnx,
}

impl Form {
    /// Encodes the answer.
    ///
    /// # Errors
    ///
    /// If the answer cannot be encoded, which no input is known to cause. The error has no status.
    pub fn answer(self, guesses: &[Guess]) -> Result<Response, Error> {
        let body = match self {
            Self::JsonObject => return Ok(Response::json_bytes(serde_json::to_vec(&guesses.first())?)),
            Self::JsonList => return Ok(Response::json_bytes(serde_json::to_vec(guesses)?)),
            Self::TensorFlow { outputs } => {
                let wanted = |name: &&str| outputs.is_empty() || outputs.iter().any(|output| output == name);
                let mut response = tensorflow::Response::default();
                for (index, name) in OUTPUTS.iter().enumerate().filter(|(_, name)| wanted(name)) {
                    response = response.with_output(*name, output(index, guesses)?);
                }
                response.encode()?
            }
            Self::Torch { outputs } => {
                let outputs = if outputs.is_empty() { (0..OUTPUTS.len()).collect() } else { outputs };
                let mut response = torch::Response::default();
                for index in outputs {
                    response = response.with_output(output(index, guesses)?);
                }
                response.encode()?
            }
            Self::Onnx => {
                let mut response = onnx::Message::default();
                for (index, name) in OUTPUTS.into_iter().enumerate() {
                    response = response.with(name, output(index, guesses)?);
                }
                response.encode()?
            }
        };
        Ok(Response::new(body).with_content_type("application/octet-stream"))
    }
}

fn output(index: usize, guesses: &[Guess]) -> Result<Tensor, Error> {
    Ok(match OUTPUTS[index] {
        "probabilities" => {
            let probabilities: Vec<f32> = guesses.iter().flat_map(|guess| guess.probabilities).collect();
            Tensor::new(&[guesses.len(), DIGITS], probabilities)?
        }
        _ => Tensor::vector(guesses.iter().map(|guess| guess.label as i64).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guesses() -> Vec<Guess> {
        let guess =
            |label: usize| Guess { label, probabilities: std::array::from_fn(|i| if i == label { 1.0 } else { 0.0 }) };
        vec![guess(3), guess(7)]
    }

    fn body(form: Form) -> Vec<u8> {
        let response = form.answer(&guesses()).unwrap();
        assert_eq!(response.status, 200);
        response.body
    }

    #[test]
    fn all_outputs_or_those_that_were_asked_for() {
        let all = tensorflow::Response::decode(&body(Form::TensorFlow { outputs: Vec::new() })).unwrap();
        assert_eq!(all.output("labels").unwrap().elements::<i64>().unwrap(), [3, 7]);
        assert_eq!(all.output("probabilities").unwrap().shape(), [2, 10]);
        let one = tensorflow::Response::decode(&body(Form::TensorFlow { outputs: vec!["labels".to_owned()] })).unwrap();
        assert_eq!(one.outputs.len(), 1);

        let all = torch::Response::decode(&body(Form::Torch { outputs: Vec::new() })).unwrap();
        assert_eq!(all.outputs.len(), 2);
        let turned = torch::Response::decode(&body(Form::Torch { outputs: vec![1, 0] })).unwrap();
        assert_eq!(turned.outputs[0].elements::<i64>().unwrap(), [3, 7]);
        assert_eq!(turned.outputs[1], all.outputs[0]);

        let onnx = onnx::Message::decode(&body(Form::Onnx)).unwrap();
        assert_eq!(onnx.tensor("labels").unwrap(), &turned.outputs[0]);
    }

    #[test]
    fn json_is_an_object_or_a_list() {
        let object: serde_json::Value = serde_json::from_slice(&body(Form::JsonObject)).unwrap();
        let list: serde_json::Value = serde_json::from_slice(&body(Form::JsonList)).unwrap();
        assert_eq!((&object["label"], &list[1]["label"]), (&3.into(), &7.into()));
        let nothing = Form::JsonList.answer(&[]).unwrap();
        assert_eq!(nothing.body, b"[]");
    }
}
