//! Recognises handwritten digits: pictures of 8 by 8 pixels in, labels and probabilities out.
//!
//! The model is an ONNX file in the service's model directory. `question.rs` detects the form of the request, JSON or
//! one of EAS's tensor messages, and `answer.rs` answers in the same form. `signature.rs` describes the model to
//! clients that ask for it. `classifier.rs` is the only file that uses the model runtime.

pub mod answer;
pub mod input;
pub mod question;
pub mod signature;

#[cfg(feature = "model")]
mod classifier;

#[cfg(feature = "model")]
pub use processor::Digits;

#[cfg(feature = "model")]
mod processor {
    use bulkhead_guest::{Error, Model, Processor, Request, Response};

    use bulkhead_tensors::Signature;

    use crate::{answer::Guess, classifier::Classifier, question::Question, signature::signature};

    /// The processor; public for the bench, which runs it natively as well.
    pub struct Digits {
        classifier: Classifier,
        signature: Signature,
    }

    impl Processor for Digits {
        fn initialize(model: &Model) -> Result<Self, Error> {
            let path = model
                .entry_path()
                .ok_or_else(|| Error::new(0, "digits needs model_path and model_entry in its service file"))?;
            Ok(Self { classifier: Classifier::load(&path)?, signature: signature() })
        }

        fn process(&mut self, request: Request) -> Result<Response, Error> {
            if let Some(json) = self.signature.answer(&request.method, &request.body) {
                return Ok(Response::json_bytes(json));
            }
            let Question { pictures, form } = Question::read(request.content_type.as_deref(), &request.body)?;
            let guesses = pictures.iter().map(|pixels| self.classifier.guess(pixels));
            form.answer(&guesses.collect::<Result<Vec<Guess>, Error>>()?)
        }
    }

    bulkhead_guest::export!(Digits);

    #[cfg(test)]
    mod tests;
}
