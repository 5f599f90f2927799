//! Runs the README's tour as written.

use std::fs;

use crate::alone;

/// Returns the commands of the tour's section.
fn tour() -> String {
    let readme = fs::read_to_string(bulkhead_artifacts::root().join("README.md")).expect("a README");
    let (_, rest) = readme.split_once("\n## A tour\n").expect("a tour");
    let section = rest.split("\n## ").next().expect("a section");
    // Only the first block of commands is returned; the next block deploys an example.
    let lines = section.lines().skip_while(|line| !line.starts_with("    "));
    let commands = lines.take_while(|line| line.is_empty() || line.starts_with("    "));
    commands.filter_map(|line| line.strip_prefix("    ")).collect::<Vec<_>>().join("\n") + "\n"
}

/// Runs the tour line by line in a shell, in an empty directory. Only the line that builds the host in release mode is
/// left out; the tested binary takes its place.
#[test]
fn the_tour_works_as_it_is_written() {
    if !alone::can_be_alone("the tour") {
        return;
    }
    let tour = tour();
    let (build, rest) = tour.split_once('\n').expect("several lines");
    assert!(build.starts_with("cargo build --release && export PATH="), "{build}");
    for step in ["serve &", "new ", "build", "test ", "create ", "invoke ", "curl "] {
        assert!(rest.contains(step), "no {step:?} in the tour:\n{rest}");
    }

    let directory = tempfile::tempdir().expect("a directory");
    let ended = alone::run(&format!("{rest}\necho; echo the tour has ended\n"), directory.path());
    let (out, err) = (ended.out, ended.err);
    assert!(ended.status.success(), "{}\n{out}\n{err}", ended.status);
    assert!(out.contains("listening data=127.0.0.1:8080 admin=127.0.0.1:8081"), "{out}");
    // Printed by `test`, by `invoke` and by curl.
    let answers = out.lines().filter(|line| *line == "words: 3").count();
    assert_eq!(answers, 3, "{out}\n{err}");
    assert!(out.trim_end().ends_with("the tour has ended"), "{out}");
}
