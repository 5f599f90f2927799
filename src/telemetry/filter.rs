//! Selects log lines by target and level: `BULKHEAD_LOG`.
//!
//! A level without a target applies to Bulkhead's own targets. Libraries log warnings and errors only, unless they are
//! named, each by itself or all as `library`: their other lines are for their developers.

use std::str::FromStr;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// The targets of the host itself, of processors, and of the request lines.
const OURS: [&str; 3] = ["bulkhead", "processor", REQUEST];
const REQUEST: &str = "request";
/// The target of libraries that use the `log` crate: see [`super::library`].
pub(super) const LIBRARY: &str = "library";

/// Libraries in the host that write lines, by the beginnings of their targets. No line has a target outside this list
/// and the host's own.
const LIBRARIES: [&str; 13] = [
    "cranelift",
    "h2",
    "hyper",
    "mio",
    "pulley_interpreter",
    "redb",
    "regalloc2",
    "rustls",
    "tokio",
    "ureq",
    "wasmtime",
    "wit_component",
    "wit_parser",
];

/// The lines that are selected.
#[derive(Clone)]
pub(super) struct Filter {
    wanted: Targets,
    /// The most detailed level that is selected for any library.
    of_libraries: LevelFilter,
}

impl Filter {
    /// Reads `BULKHEAD_LOG`; `info` if it is not set.
    pub(super) fn from_env() -> Result<Self, String> {
        match std::env::var("BULKHEAD_LOG") {
            Ok(text) => Self::parse(&text).map_err(|why| format!("BULKHEAD_LOG={text:?}: {why}")),
            Err(std::env::VarError::NotPresent) => Self::parse(""),
            Err(std::env::VarError::NotUnicode(_)) => Err("BULKHEAD_LOG is not text".into()),
        }
    }

    /// Parses levels with or without a target, separated by commas: `info,request=off`. The last level for a target
    /// counts.
    fn parse(text: &str) -> Result<Self, String> {
        let mut own = LevelFilter::INFO;
        let mut library = None;
        let mut named: Vec<(&str, LevelFilter)> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                None => own = level(part)?,
                Some(("", _)) => return Err(format!("{part:?} names no target; expected TARGET=LEVEL")),
                Some((target, wanted)) => match known(target.trim())? {
                    LIBRARY => library = Some(level(wanted)?),
                    target => named.push((target, level(wanted)?)),
                },
            }
        }
        let libraries = library.unwrap_or_else(|| own.min(LevelFilter::WARN));
        let is_ours = |target: &str| OURS.iter().any(|ours| target.starts_with(ours));
        let of_libraries = named.iter().filter(|(target, _)| !is_ours(target)).map(|(_, level)| *level);
        let of_libraries = of_libraries.fold(libraries, LevelFilter::max);
        let wanted = Targets::new().with_default(libraries).with_targets(OURS.map(|target| (target, own)));
        Ok(Self { wanted: wanted.with_targets(named), of_libraries })
    }

    /// Returns the filter for events. Those of [`LIBRARY`] were filtered before they were made.
    pub(super) fn targets(&self) -> Targets {
        self.wanted.clone().with_target(LIBRARY, self.of_libraries)
    }

    /// True if request lines are written at all.
    pub(super) fn lets_requests_through(&self) -> bool {
        self.wants(REQUEST, Level::INFO)
    }

    pub(super) fn wants(&self, target: &str, level: Level) -> bool {
        self.wanted.would_enable(target, &level)
    }

    pub(super) fn of_libraries(&self) -> LevelFilter {
        self.of_libraries
    }
}

/// Refuses a target that no line has. Otherwise a typing error would show only in lines that are missing, or too many.
fn known(target: &str) -> Result<&str, String> {
    let head = target.split("::").next().unwrap_or_default();
    let is_library = LIBRARIES.iter().any(|library| head == *library || head.starts_with(&format!("{library}_")));
    if OURS.contains(&head) || target == LIBRARY || is_library {
        return Ok(target);
    }
    let all = OURS.into_iter().chain([LIBRARY]).chain(LIBRARIES);
    let nearest = all.min_by_key(|known| strsim::damerau_levenshtein(head, known)).unwrap_or_default();
    Err(format!(
        "no line has the target {target:?}; the nearest is {nearest:?}. Known are {}, parts of them such as \
         bulkhead::registry, and the libraries {}, or {LIBRARY} for all of them",
        OURS.join(", "),
        LIBRARIES.join(", ")
    ))
}

fn level(text: &str) -> Result<LevelFilter, String> {
    let text = text.trim();
    // The parser also takes numbers, but it is not obvious which level each stands for.
    let is_word = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    LevelFilter::from_str(text).ok().filter(|_| is_word).ok_or_else(|| {
        format!("{text:?} is not a level; use off, error, warn, info, debug or trace, alone or as TARGET=LEVEL")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Filter {
        Filter::parse(text).unwrap()
    }

    #[test]
    fn requests_are_a_target_of_their_own() {
        for (text, requests, host) in [
            ("", true, true),
            ("info", true, true),
            ("warn", false, false),
            ("off", false, false),
            ("info,request=off", false, true),
            ("request=warn", false, true),
            ("warn,request=info", true, false),
            ("request=off, debug", false, true),
        ] {
            let filter = filter(text);
            assert_eq!(filter.lets_requests_through(), requests, "{text}");
            assert_eq!(filter.wants("bulkhead::registry", Level::INFO), host, "{text}");
        }
    }

    #[test]
    fn libraries_say_nothing_below_a_warning_unless_they_are_named() {
        for text in ["", "info", "debug", "trace", "trace,processor=off"] {
            let filter = filter(text);
            assert!(!filter.wants("wasmtime::runtime", Level::INFO), "{text}");
            assert!(filter.wants("hyper::proto", Level::WARN), "{text}");
            assert_eq!(filter.of_libraries(), LevelFilter::WARN, "{text}");
        }
        let named = filter("wasmtime=debug");
        assert!(named.wants("wasmtime::runtime", Level::DEBUG) && !named.wants("hyper", Level::INFO));
        assert_eq!(named.of_libraries(), LevelFilter::DEBUG);
        for (text, all) in [("library=off", LevelFilter::OFF), ("warn,library=debug", LevelFilter::DEBUG)] {
            assert_eq!(filter(text).of_libraries(), all, "{text}");
            assert_eq!(filter(text).wants("hyper::proto", Level::WARN), all == LevelFilter::DEBUG, "{text}");
            assert_eq!(filter(text).wants("hyper::proto", Level::DEBUG), all == LevelFilter::DEBUG, "{text}");
        }
        let one = filter("library=off,wasmtime=info");
        assert!(one.wants("wasmtime::runtime", Level::INFO) && !one.wants("hyper", Level::ERROR));
        assert_eq!(one.of_libraries(), LevelFilter::INFO, "what it is the filter for has the target of all libraries");
        assert_eq!(filter("off").of_libraries(), LevelFilter::OFF);
        assert_eq!(filter("error").of_libraries(), LevelFilter::ERROR);
    }

    #[test]
    fn a_target_that_no_line_has_is_refused_with_the_nearest() {
        for (text, asked, nearest) in [
            ("info,reqest=off", "reqest", "request"),
            ("requests=off", "requests", "request"),
            ("wasmtine::runtime=debug", "wasmtine::runtime", "wasmtime"),
            ("bulkheads::registry=debug", "bulkheads::registry", "bulkhead"),
            ("library::hyper=debug", "library::hyper", "library"),
        ] {
            let why = Filter::parse(text).err().unwrap();
            assert!(why.contains(&format!("{asked:?}; the nearest is {nearest:?}")), "{why}");
        }
        for text in ["bulkhead::registry=debug", "cranelift_codegen=info", "library=info", "hyper::proto=trace"] {
            assert!(Filter::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_level_is_named() {
        for (text, wrong) in [
            ("wran", "wran"),
            ("info,request=none", "none"),
            ("request=", ""),
            ("=info", "=info"),
            ("5", "5"),
            ("request=0", "0"),
        ] {
            let why = Filter::parse(text).err().unwrap();
            assert!(why.contains(&format!("{wrong:?}")) && why.contains("TARGET=LEVEL"), "{why}");
        }
    }
}
