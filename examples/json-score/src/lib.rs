//! Scores a JSON record. An invalid record gets an answer that lists all its mistakes.

mod record;

use bulkhead_guest::{Error, Model, Processor, Request, Response};
use serde::{Deserialize, Serialize};

use crate::record::{Mistake, Record};

/// The service file's `model_config`.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// The least score that is accepted.
    threshold: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { threshold: 0.5 }
    }
}

struct JsonScore {
    config: Config,
}

#[derive(Serialize)]
struct Scored {
    score: f64,
    accepted: bool,
}

#[derive(Serialize)]
struct Refused {
    errors: Vec<Mistake>,
}

impl Processor for JsonScore {
    fn initialize(model: &Model) -> Result<Self, Error> {
        let config = match model.config.as_str() {
            "" => Config::default(),
            text => serde_json::from_str(text)?,
        };
        Ok(Self { config })
    }

    fn process(&mut self, request: Request) -> Result<Response, Error> {
        let value = serde_json::from_slice(&request.body)
            .map_err(|error| Error::new(400, format_args!("the body is not JSON: {error}")))?;
        match Record::parse(&value) {
            Ok(record) => {
                let score = record.score();
                let accepted = score >= self.config.threshold;
                json(&Scored { score, accepted })
            }
            Err(errors) => Ok(json(&Refused { errors })?.with_status(422)),
        }
    }
}

fn json(value: &impl Serialize) -> Result<Response, Error> {
    Ok(Response::json_bytes(serde_json::to_vec(value)?))
}

bulkhead_guest::export!(JsonScore);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn processor(config: &str) -> JsonScore {
        JsonScore::initialize(&Model { config: config.to_owned(), ..Model::default() }).unwrap()
    }

    fn ask(config: &str, body: &Value) -> (u16, Value) {
        let request = Request::post(body.to_string()).with_content_type("application/json");
        let response = processor(config).process(request).unwrap();
        let answer = serde_json::from_slice(&response.body).unwrap();
        (response.status, answer)
    }

    #[test]
    fn a_record_is_scored() {
        let (status, answer) = ask("", &json!({ "age": 40, "income": 50000, "history": [0, 0, 2] }));
        assert_eq!(status, 200);
        assert!((0.0..=1.0).contains(&answer["score"].as_f64().unwrap()));
        assert_eq!(answer["accepted"], true);
    }

    #[test]
    fn the_threshold_comes_from_the_service_file() {
        let record = json!({ "age": 40, "income": 50000, "history": [] });
        let (_, answer) = ask("{\"threshold\": 0.99}", &record);
        assert_eq!(answer["accepted"], false);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let (status, answer) = ask("", &json!({ "age": -3, "history": [0, "late"], "incom": 5 }));
        assert_eq!(status, 422);
        assert_eq!(
            answer,
            json!({ "errors": [
                { "field": "age", "message": "must be a whole number from 0 to 130, not -3" },
                { "field": "income", "message": "is missing" },
                { "field": "history[1]", "message": "must be a number from 0 to 365, not \"late\"" },
                { "field": "incom", "message": "is not known" },
            ] })
        );
    }

    #[test]
    fn what_is_not_json_is_a_bad_request() {
        let error = processor("").process(Request::post("age=40")).unwrap_err();
        assert_eq!(error.status(), 400);
        assert!(error.message().starts_with("the body is not JSON: "));
    }

    #[test]
    fn a_wrong_configuration_refuses_the_deploy() {
        let model = Model { config: "{\"treshold\": 0.9}".to_owned(), ..Model::default() };
        let error = JsonScore::initialize(&model).err().unwrap();
        assert!(error.message().contains("unknown field `treshold`"));
    }
}
