use std::time::Duration;

use serde::Deserialize;

/// The longest side of a picture.
const LONGEST: u32 = 2048;
/// Most iterations of a pixel.
const MOST_ITERATIONS: u32 = 10_000_000;
/// The longest work in seconds.
const MOST_SECONDS: u32 = 24 * 3600;

/// The body of a request. An empty body has all defaults.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Body {
    width: u32,
    height: u32,
    iterations: u32,
    seconds: u32,
}

impl Default for Body {
    fn default() -> Self {
        Self { width: 640, height: 480, iterations: 1000, seconds: 0 }
    }
}

/// A checked request.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) view: View,
    /// The least time of the work. The processor rests after each tile to make it so long.
    pub(crate) at_least: Duration,
}

/// Everything that the picture depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Iterations after which a point counts as one of the set.
    pub(crate) iterations: u32,
}

impl Options {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        let body = match body.trim_ascii() {
            [] => Body::default(),
            text => serde_json::from_slice(text).map_err(|error| format!("the body has no options: {error}"))?,
        };
        let Body { width, height, iterations, seconds } = body;
        for (name, value, least, most) in [
            ("width", width, 1, LONGEST),
            ("height", height, 1, LONGEST),
            ("iterations", iterations, 1, MOST_ITERATIONS),
            ("seconds", seconds, 0, MOST_SECONDS),
        ] {
            if !(least..=most).contains(&value) {
                return Err(format!("{name} is {value}; accepted is {least} to {most}"));
            }
        }
        let at_least = Duration::from_secs(seconds.into());
        Ok(Self { view: View { width, height, iterations }, at_least })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(body: &str) -> String {
        Options::parse(body.as_bytes()).unwrap_err()
    }

    #[test]
    fn what_is_not_given_has_a_default() {
        let options = Options::parse(b"").unwrap();
        assert_eq!(options.view, View { width: 640, height: 480, iterations: 1000 });
        assert_eq!(options.at_least, Duration::ZERO);
        let options = Options::parse(br#"{"height": 5, "seconds": 60}"#).unwrap();
        assert_eq!((options.view.width, options.view.height), (640, 5));
        assert_eq!(options.at_least, Duration::from_secs(60));
    }

    #[test]
    fn a_mistake_names_what_is_accepted() {
        assert_eq!(mistake(r#"{"height": 2049}"#), "height is 2049; accepted is 1 to 2048");
        assert_eq!(mistake(r#"{"iterations": 0}"#), "iterations is 0; accepted is 1 to 10000000");
        assert_eq!(mistake(r#"{"seconds": 86401}"#), "seconds is 86401; accepted is 0 to 86400");
        assert!(mistake(r#"{"hight": 5}"#).starts_with("the body has no options: unknown field `hight`"));
        assert!(mistake("wide").starts_with("the body has no options: "));
    }
}
