//! Counts the words of a text. Replace it with your own service.

use bulkhead_guest::{Error, Level, Model, Processor, Request, Response, log};

struct WordCount {
    /// The service file's `model_config`: texts with more words are refused.
    most: usize,
}

impl Processor for WordCount {
    /// Runs once before any call; all instances use the result. An error here refuses the deploy and says why.
    fn initialize(model: &Model) -> Result<Self, Error> {
        let most = match model.config.as_str() {
            "" => 10_000,
            config => config.parse()?,
        };
        Ok(Self { most })
    }

    /// Answers one call. The caller gets the status of an error, and its message as the body.
    fn process(&mut self, request: Request) -> Result<Response, Error> {
        let text = String::from_utf8(request.body)
            .map_err(|_| Error::new(415, "the body must be UTF-8 text"))?;
        let words = text.split_whitespace().count();
        log(Level::Info, format_args!("{words} words"));
        if words > self.most {
            return Err(Error::new(
                422,
                format_args!("{words} words, accepted are {}", self.most),
            ));
        }
        Ok(Response::text(format!(
            "words: {words}\nlines: {}\n",
            text.lines().count()
        )))
    }
}

bulkhead_guest::export!(WordCount);

/// A processor is an ordinary type: `cargo test` runs these natively, without a host.
#[cfg(test)]
mod tests {
    use super::*;

    fn processor(config: &str) -> Result<WordCount, Error> {
        WordCount::initialize(&Model {
            config: config.to_owned(),
            ..Model::default()
        })
    }

    #[test]
    fn words_and_lines_are_counted() {
        let response = processor("")
            .unwrap()
            .process(Request::post("one two\nthree"))
            .unwrap();
        assert_eq!(response.body, b"words: 3\nlines: 2\n");
    }

    #[test]
    fn long_and_foreign_texts_are_refused_with_a_status() {
        let mut processor = processor("2").unwrap();
        assert_eq!(
            processor
                .process(Request::post("one two three"))
                .unwrap_err()
                .status(),
            422
        );
        assert_eq!(
            processor
                .process(Request::post([0xff]))
                .unwrap_err()
                .status(),
            415
        );
    }

    #[test]
    fn a_bad_configuration_refuses_the_deploy() {
        assert!(processor("many").is_err());
    }
}
