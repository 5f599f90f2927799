//! JSON requests: `{"pixels": […]}` for one picture, `{"rows": [[…], …]}` for many. Checks of size and range for all
//! pictures.

use bulkhead_guest::Error;
use serde::Deserialize;

/// The size of a picture: 8 by 8 pixels, row by row from the top left.
pub const PIXELS: usize = 64;
/// The value of a black pixel; white is 0.
pub const BLACK: f32 = 16.0;

/// The most mistakes that a message lists, so that a body full of mistakes does not get an answer larger than itself.
const MISTAKES_TOLD: usize = 10;

/// Checked pictures.
#[derive(Debug, PartialEq)]
pub enum Pictures {
    One(Vec<f32>),
    Many(Vec<Vec<f32>>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    pixels: Option<Vec<f32>>,
    rows: Option<Vec<Vec<f32>>>,
}

impl Pictures {
    /// Reads a request's body.
    ///
    /// # Errors
    ///
    /// Status 422 with all mistakes, if the body is not such JSON or a picture has the wrong size or range.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let body =
            serde_json::from_slice(body).map_err(|error| Error::new(422, format_args!("not a picture: {error}")))?;
        match body {
            Body { pixels: Some(pixels), rows: None } => {
                let mut mistakes = Vec::new();
                check("pixels", &pixels, &mut mistakes);
                told(&mistakes)?;
                Ok(Self::One(pixels))
            }
            Body { pixels: None, rows: Some(rows) } => {
                check_all("rows", &rows)?;
                Ok(Self::Many(rows))
            }
            _ => Err(Error::new(422, "either `pixels` or `rows` is needed, and not both")),
        }
    }
}

/// Checks that all of them are pictures. Messages name a picture by `name` and its index.
///
/// # Errors
///
/// Status 422 with all mistakes.
pub(crate) fn check_all(name: &str, pictures: &[Vec<f32>]) -> Result<(), Error> {
    let mut mistakes = Vec::new();
    for (index, pixels) in pictures.iter().enumerate() {
        check(&format!("{name}[{index}]"), pixels, &mut mistakes);
    }
    told(&mistakes)
}

fn check(name: &str, pixels: &[f32], mistakes: &mut Vec<String>) {
    if pixels.len() != PIXELS {
        mistakes.push(format!("{name} has {} numbers, not {PIXELS}", pixels.len()));
    }
    for (index, pixel) in pixels.iter().enumerate() {
        if !(0.0..=BLACK).contains(pixel) {
            mistakes.push(format!("{name}[{index}] is {pixel}, not between 0 and {BLACK}"));
        }
    }
}

fn told(mistakes: &[String]) -> Result<(), Error> {
    if mistakes.is_empty() {
        return Ok(());
    }
    let told = mistakes.len().min(MISTAKES_TOLD);
    let mut sentence = mistakes[..told].join("; ");
    if mistakes.len() > told {
        sentence.push_str(&format!("; and {} more", mistakes.len() - told));
    }
    Err(Error::new(422, sentence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(body: &Value) -> Result<Pictures, Error> {
        Pictures::parse(body.to_string().as_bytes())
    }

    fn refusal(body: &Value) -> String {
        let error = parse(body).unwrap_err();
        assert_eq!(error.status(), 422);
        error.message().to_owned()
    }

    #[test]
    fn one_picture_or_many() {
        assert_eq!(parse(&json!({ "pixels": vec![16; 64] })).unwrap(), Pictures::One(vec![16.0; 64]));
        assert_eq!(
            parse(&json!({ "rows": [vec![0; 64], vec![0.5; 64]] })).unwrap(),
            Pictures::Many(vec![vec![0.0; 64], vec![0.5; 64]])
        );
        assert_eq!(parse(&json!({ "rows": [] })).unwrap(), Pictures::Many(Vec::new()));
    }

    #[test]
    fn a_body_says_one_thing() {
        let both = json!({ "pixels": [], "rows": [] });
        let needed = "either `pixels` or `rows` is needed, and not both";
        assert_eq!(refusal(&both), needed);
        assert_eq!(refusal(&json!({})), needed);
        assert!(refusal(&json!({ "pixel": [] })).contains("unknown field `pixel`"));
        assert!(refusal(&json!("seven")).starts_with("not a picture: "));
    }

    #[test]
    fn sizes_and_ranges_are_checked_together() {
        let mut pixels = vec![0.0; 63];
        pixels[5] = -1.0;
        pixels[6] = 16.5;
        assert_eq!(
            refusal(&json!({ "pixels": pixels })),
            "pixels has 63 numbers, not 64; pixels[5] is -1, not between 0 and 16; \
             pixels[6] is 16.5, not between 0 and 16"
        );
    }

    #[test]
    fn a_mistake_names_its_row() {
        assert_eq!(refusal(&json!({ "rows": [vec![0; 64], vec![0; 2]] })), "rows[1] has 2 numbers, not 64");
    }

    #[test]
    fn a_body_full_of_mistakes_gets_a_short_answer() {
        let message = refusal(&json!({ "pixels": vec![17; 64] }));
        assert!(message.ends_with("pixels[9] is 17, not between 0 and 16; and 54 more"));
    }

    #[test]
    fn numbers_beyond_the_range_of_floats_are_refused() {
        assert!(Pictures::parse(br#"{"pixels": [1e39]}"#).is_err());
    }
}
