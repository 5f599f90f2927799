//! Counts the results that test programs print.

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    pub(crate) failed_names: Vec<String>,
    /// Names of skipped tests, with the reason if one is given.
    pub(crate) skipped_names: Vec<String>,
    /// A test whose own output stands between its name and its outcome.
    talking: Option<String>,
}

impl Tally {
    pub(crate) fn failure(name: String) -> Self {
        let mut tally = Self::default();
        tally.fail(name);
        tally
    }

    pub(crate) fn fail(&mut self, name: String) {
        self.failed += 1;
        self.failed_names.push(name);
    }

    pub(crate) fn skip(&mut self, name: String) {
        self.skipped += 1;
        self.skipped_names.push(name);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failed_names.extend_from_slice(&other.failed_names);
        self.skipped_names.extend_from_slice(&other.skipped_names);
    }

    /// Counts a line of Rust's test harness. The lines of the tests give the names, the last line of each program gives
    /// the numbers.
    pub(crate) fn libtest(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            let count = |what: &str| {
                let before = result.split(';').find_map(|part| part.trim().strip_suffix(what))?;
                before.rsplit(' ').find_map(|word| word.parse::<u64>().ok())
            };
            self.passed += count(" passed").unwrap_or(0);
            self.failed += count(" failed").unwrap_or(0);
            self.skipped += count(" ignored").unwrap_or(0);
        } else if let Some((name, outcome)) = line.strip_prefix("test ").and_then(|line| line.split_once(" ... ")) {
            self.talking = None;
            if outcome == "FAILED" {
                self.failed_names.push(name.to_owned());
            } else if let Some(reason) = outcome.strip_prefix("ignored") {
                let reason = reason.trim_start_matches(", ");
                self.skipped_names.push(if reason.is_empty() { name.to_owned() } else { format!("{name}: {reason}") });
            } else if outcome != "ok" {
                self.talking = Some(name.to_owned());
            }
        } else if line == "FAILED" {
            self.failed_names.extend(self.talking.take());
        }
    }

    /// Counts a line of `tests/python/sdk.py`.
    pub(crate) fn sdk(&mut self, line: &str) {
        if line.starts_with("ok ") {
            self.passed += 1;
        } else if let Some(failure) = line.strip_prefix("FAIL ") {
            self.fail(failure.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtest_is_counted_by_its_last_line_and_named_by_the_others() {
        let mut tally = Tally::default();
        for line in [
            "running 4 tests",
            "test a::fine ... ok",
            "test a::slow ... ignored, takes an hour",
            "test src/lib.rs - (line 3) ... ignored",
            "test b::broken ... FAILED",
            "test result: FAILED. 11 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.01s",
            "test result: ok. 30 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            tally.libtest(line);
        }
        assert_eq!((tally.passed, tally.failed, tally.skipped), (41, 1, 2));
        assert_eq!(tally.failed_names, ["b::broken"]);
        assert_eq!(tally.skipped_names, ["a::slow: takes an hour", "src/lib.rs - (line 3)"]);
    }

    #[test]
    fn a_failure_is_named_even_if_the_test_spoke_in_between() {
        let mut tally = Tally::default();
        for line in [
            "test a::talks ... {\"figure\":1}",
            "FAILED",
            "test b::talks ... {}",
            "ok",
            "test c::fine ... ok",
            "FAILED",
        ] {
            tally.libtest(line);
        }
        assert_eq!(tally.failed_names, ["a::talks"]);
    }

    #[test]
    fn the_sdk_is_counted_by_its_lines() {
        let mut tally = Tally::default();
        for line in ["ok one", "FAIL two: AssertionError: x", "Traceback"] {
            tally.sdk(line);
        }
        assert_eq!((tally.passed, tally.failed), (1, 1));
        assert_eq!(tally.failed_names, ["two: AssertionError: x"]);
    }
}
