//! The compiler flags for guests, and the environment variable that passes them to cargo without losing the user's
//! flags.

use std::ffi::OsString;

/// Vector instructions, and unrolled loops: the host's metering adds a check to every iteration, so fewer iterations
/// cost less.
const RUSTFLAGS: &[&str] = &[
    "-Ctarget-feature=+simd128",
    "-Cllvm-args=-unroll-partial-threshold=250",
    "-Cllvm-args=-force-target-max-vector-interleave=4",
];
/// The variable whose flags are separated by a character that no flag contains.
const ENCODED: &str = "CARGO_ENCODED_RUSTFLAGS";
const OF_TARGET: &str = "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS";

/// The environment variable that passes our flags to cargo, and its value.
///
/// Cargo takes flags from only one place, with one exception: it adds the flags for a target to those of a
/// configuration file. So our flags go into the variable for the target, where they replace nothing. If the user has
/// set a variable that takes precedence over it, our flags are put into that one, before the user's.
pub(super) fn variable(present: impl Fn(&str) -> Option<OsString>) -> (&'static str, String) {
    let text = |name| present(name).map(|flags| flags.to_string_lossy().into_owned());
    let words = |flags: String| flags.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let join = |theirs: Vec<String>, between: &str| {
        let theirs = theirs.iter().map(String::as_str).filter(|flag| !flag.is_empty());
        RUSTFLAGS.iter().copied().chain(theirs).collect::<Vec<_>>().join(between)
    };
    if let Some(encoded) = text(ENCODED) {
        return (ENCODED, join(encoded.split('\x1f').map(str::to_owned).collect(), "\x1f"));
    }
    if let Some(plain) = text("RUSTFLAGS").map(words).filter(|flags| !flags.is_empty()) {
        return (ENCODED, join(plain, "\x1f"));
    }
    (OF_TARGET, join(text(OF_TARGET).map(words).unwrap_or_default(), " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags_beside(present: &[(&str, &str)]) -> (&'static str, String) {
        variable(|name| present.iter().find(|(found, _)| *found == name).map(|(_, flags)| flags.into()))
    }

    #[test]
    fn the_users_flags_come_last() {
        let ours = RUSTFLAGS.join("\x1f");
        let encoded = |theirs: &str| (ENCODED, format!("{ours}\x1f{theirs}"));
        assert_eq!(flags_beside(&[("RUSTFLAGS", "-Dwarnings  -g")]), encoded("-Dwarnings\x1f-g"));
        assert_eq!(flags_beside(&[(ENCODED, "--cfg\x1fx y"), ("RUSTFLAGS", "-g")]), encoded("--cfg\x1fx y"));
    }

    #[test]
    fn flags_of_a_configuration_file_stay_in_force() {
        // Cargo adds this variable to the flags of the file. An empty RUSTFLAGS counts as absent. An empty encoded
        // variable makes cargo ignore the file.
        let ours = RUSTFLAGS.join(" ");
        assert_eq!(flags_beside(&[]), (OF_TARGET, ours.clone()));
        assert_eq!(flags_beside(&[("RUSTFLAGS", " ")]), (OF_TARGET, ours.clone()));
        assert_eq!(flags_beside(&[(OF_TARGET, "-g")]), (OF_TARGET, format!("{ours} -g")));
        assert_eq!(flags_beside(&[(ENCODED, "")]), (ENCODED, RUSTFLAGS.join("\x1f")));
    }

    #[test]
    fn new_projects_have_the_same_flags() {
        let config = include_str!("../template/config.toml");
        assert!(RUSTFLAGS.iter().all(|flag| config.contains(&format!("\"{flag}\""))));
        assert_eq!(config.matches("\"-C").count(), RUSTFLAGS.len());
    }
}
