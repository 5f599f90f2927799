//! Manual pages.

use std::fs;

use super::bulkhead;
use crate::cli::failure::Exit;
use crate::cli::tests::help::commands;

#[test]
fn the_page_names_every_command() {
    let ran = bulkhead(&["man"]);
    assert_eq!(ran.exit, Exit::Ok);
    assert!(ran.out.contains(".TH bulkhead 1") && ran.out.contains(".SH \"EXIT STATUS\""), "{}", ran.out);
    // The commands below another one are on its page.
    for (words, _) in commands().into_iter().filter(|(words, _)| words.split(' ').count() <= 2) {
        let page = words.replace(' ', "\\-");
        assert!(ran.out.contains(&page), "{page} is not in {}", ran.out);
    }
    assert!(!ran.out.contains("bulkhead\\-compile"), "it is the server's own");
}

#[test]
fn every_command_has_a_page_with_its_options_and_examples() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man1");
    assert_eq!(bulkhead(&["man", "--dir", pages.to_str().unwrap()]).exit, Exit::Ok);
    for (words, command) in commands() {
        let page = fs::read_to_string(pages.join(format!("{}.1", words.replace(' ', "-")))).expect(&words);
        assert!(page.contains(".SH SYNOPSIS") && page.contains(".SH EXAMPLES\n.nf\n  "), "{words}: {page}");
        for long in command.get_arguments().filter(|argument| !argument.is_hide_set()).filter_map(clap::Arg::get_long) {
            assert!(page.contains(&format!("\\-\\-{}", long.replace('-', "\\-"))), "{words}: --{long}: {page}");
        }
    }
    assert!(!pages.join("bulkhead-compile.1").exists());
    let queue = fs::read_to_string(pages.join("bulkhead-queue.1")).unwrap();
    assert!(queue.contains("bulkhead\\-queue\\-put(1)"), "{queue}");

    let synopsis = |name: &str| {
        let page = fs::read_to_string(pages.join(name)).unwrap();
        let line = page.lines().skip_while(|line| *line != ".SH SYNOPSIS").nth(1).unwrap_or_default().to_owned();
        line.replace("\\fB", "").replace("\\fI", "").replace("\\fR", "").replace("\\-", "-")
    };
    let invoke = synopsis("bulkhead-invoke.1");
    for part in ["bulkhead invoke [", " [--path PATH]", " [-H|--header NAME: VALUE]...", " [-q|--quiet]", " <NAME>"] {
        assert!(invoke.contains(part), "no {part} in {invoke}");
    }
    let release = synopsis("bulkhead-release.1");
    assert!(release.ends_with(" <NAME> <--weight WEIGHT|--traffic-state STATE|--abort>"), "{release}");
    assert!(synopsis("bulkhead.1").ends_with(" <command>"), "{}", synopsis("bulkhead.1"));

    let taken = directory.path().join("file");
    fs::write(&taken, "").unwrap();
    let ran = bulkhead(&["man", "--dir", taken.to_str().unwrap()]);
    assert!(ran.exit == Exit::Failed && ran.err.contains("cannot write the pages to"), "{}", ran.err);
}
