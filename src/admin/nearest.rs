//! The name of a service that an operator may have meant.

use super::Admin;
use super::problem::Problem;

/// Most characters of a requested name that are repeated in the answer.
const REPEATED: usize = 64;

impl Admin {
    /// Adds to a refusal for a missing service the name that was asked for, and the most similar name of a service that
    /// exists.
    pub(super) fn with_nearest(&self, asked: &str, problem: Problem) -> Problem {
        if !problem.is_about_a_missing_service() || asked.is_empty() {
            return problem;
        }
        let services = self.registry.list();
        let problem = problem.naming(&asked.chars().take(REPEATED).collect::<String>());
        match nearest(asked, services.iter().map(|service| service.name())) {
            Some(nearest) => problem.or_meant(nearest),
            None => problem,
        }
    }
}

/// Fewest letters of a name of which another is the beginning.
const LEAST_PART: usize = 3;

/// The known name nearest to `asked`: within a typing mistake for every four letters, or if one is the beginning of the
/// other. Of a name of one or two letters, a mistake leaves too little.
fn nearest<'n>(asked: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let asked: String = asked.chars().take(REPEATED).map(|c| c.to_ascii_lowercase()).collect();
    let longest_slip = if asked.len() < LEAST_PART { 0 } else { (asked.len() / 4).max(1) };
    let measured = known.filter_map(|name| {
        let slips = strsim::damerau_levenshtein(&asked, name);
        let is_long = asked.len().min(name.len()) >= LEAST_PART;
        let is_part = is_long && (name.starts_with(&asked) || asked.starts_with(name));
        (slips <= longest_slip || is_part).then_some((slips, name))
    });
    measured.min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_seen_and_a_stranger_is_not_guessed() {
        let known = ["digits", "digits-new", "e", "ok", "open", "scorer", "word-count"];
        let nearest = |asked| nearest(asked, known.into_iter());
        for (asked, meant) in [
            ("scorr", "scorer"),
            ("socrer", "scorer"),
            ("OK", "ok"),
            ("Scorer", "scorer"),
            ("digit", "digits"),
            ("digits-ne", "digits-new"),
            ("wordcount", "word-count"),
            ("word", "word-count"),
        ] {
            assert_eq!(nearest(asked), Some(meant), "{asked}");
        }
        for stranger in ["echo", "nope", "x", "on", "sc", "recorder-of-everything"] {
            assert_eq!(nearest(stranger), None, "{stranger}");
        }
    }
}
