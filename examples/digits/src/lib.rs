//! Recognises handwritten digits: pictures of 8 by 8 pixels in, labels and probabilities out.
//!
//! The model is an ONNX file in the service's model directory. `input.rs` says what a request may look like, `classifier.rs` is the
//! only file that knows how models are run.

pub mod input;

#[cfg(feature = "model")]
mod classifier;

#[cfg(feature = "model")]
pub use processor::Digits;

#[cfg(feature = "model")]
mod processor {
    use bulkhead_guest::{Error, Model, Processor, Request, Response};

    use crate::{
        classifier::{Classifier, Guess},
        input::Pictures,
    };

    /// The processor; public for the bench, which runs it natively as well.
    pub struct Digits {
        classifier: Classifier,
    }

    impl Processor for Digits {
        fn initialize(model: &Model) -> Result<Self, Error> {
            let path = model
                .entry_path()
                .ok_or_else(|| Error::new(0, "digits needs model_path and model_entry in its service file"))?;
            Ok(Self { classifier: Classifier::load(&path)? })
        }

        fn process(&mut self, request: Request) -> Result<Response, Error> {
            let answer = match Pictures::parse(&request.body)? {
                Pictures::One(pixels) => serde_json::to_vec(&self.classifier.guess(&pixels)?)?,
                Pictures::Many(rows) => {
                    let guesses = rows
                        .iter()
                        .map(|pixels| self.classifier.guess(pixels))
                        .collect::<Result<Vec<Guess>, Error>>()?;
                    serde_json::to_vec(&guesses)?
                }
            };
            Ok(Response::json_bytes(answer))
        }
    }

    bulkhead_guest::export!(Digits);

    #[cfg(test)]
    mod tests;
}
