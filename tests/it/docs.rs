//! Runs the shell examples of the documentation as written, each page in a directory of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use bulkhead_pages::Page;

use crate::alone;

/// Pages whose examples need something that this test does not have.
const NOT_RUN: [(&str, &str); 12] = [
    ("docs/operate/install.md", "builds the host, and needs systemd and podman"),
    ("docs/operate/backup.md", "needs systemd"),
    ("docs/porting/c-and-cpp.md", "builds a processor, and needs a C compiler for Wasm"),
    ("docs/porting/mosec.md", "installs Python packages"),
    ("docs/use/first-component.md", "downloads crates, and builds a component"),
    ("docs/use/first-processor.md", "builds a processor; the README's tour does the same"),
    ("docs/use/languages.md", "installs tool chains"),
    ("docs/use/models.md", "compiles a large processor several times, which takes a minute with a debug build"),
    ("docs/use/snapshots.md", "builds a processor"),
    ("docs/use/tensors.md", "builds a processor"),
    ("docs/use/testing.md", "builds a processor"),
    ("docs/use/workers-and-speed.md", "builds a processor"),
];

/// Pages on which curl is refused on purpose, with the statuses in their order.
const REFUSED: [(&str, &[&str]); 3] = [
    ("docs/call/curl.md", &["400"]),
    ("docs/operate/admin-api.md", &["412"]),
    ("docs/operate/logs.md", &["400", "408"]),
];

/// Starts the host that pages of operators and callers assume, and waits until its listeners are open.
const HOST: &str = "\
mkfifo bin/listening
bulkhead serve > bin/listening 2> bin/log &
read -r line < bin/listening
";

#[test]
fn the_shell_examples_of_the_pages_work_as_they_are_written() {
    if !alone::can_be_alone("the examples of the documentation") {
        return;
    }
    bulkhead_artifacts::guest("echo");
    let is_run = |page: &Page| !script(page).is_empty() && !NOT_RUN.iter().any(|(path, _)| *path == page.path);
    let pages: Vec<Page> = bulkhead_pages::book().into_iter().filter(is_run).collect();
    assert!(pages.len() > 10, "{pages:?}");
    let (next, faults) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(page) = pages.get(next.fetch_add(1, Ordering::Relaxed)) {
            let began = Instant::now();
            let fault = run(page);
            println!("{} took {:.1} s", page.path, began.elapsed().as_secs_f64());
            faults.lock().expect("no panic").extend(fault);
        }
    };
    thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    let faults = faults.into_inner().expect("no panic");
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

/// The commands of a page, in their order. The test has built the examples, so that command is left out.
fn script(page: &Page) -> String {
    let blocks = page.blocks().into_iter().filter(|block| block.is("sh"));
    blocks.map(|block| block.text.replace("cargo xtask guests\n", "")).collect()
}

/// Runs the commands of a page; returns what went wrong.
fn run(page: &Page) -> Option<String> {
    let directory = tempfile::tempdir().expect("a directory");
    prepare(directory.path());
    let script = script(page);
    let starts_a_host = script.contains("bulkhead serve") || script.contains("bulkhead gateway");
    let host = if starts_a_host { "" } else { HOST };
    let ended = alone::run(&format!("{host}{script}"), directory.path());
    let path = &page.path;
    let log = fs::read_to_string(directory.path().join("bin/log")).unwrap_or_default();
    let fault = |what: &str| Some(format!("{path}: {what}\n{}\n{}\nthe log of the host:\n{log}", ended.out, ended.err));
    if !ended.status.success() {
        return fault(&format!("a command failed with {}; it is the last one of the second part below", ended.status));
    }
    let expected = REFUSED.iter().find(|(refused, _)| refused == path).map_or(&[][..], |(_, statuses)| statuses);
    let statuses = ended.err.lines().filter_map(|line| line.strip_prefix("curl: status "));
    let refused: Vec<&str> = statuses.filter(|status| !status.starts_with('2')).collect();
    (refused != expected).then(|| fault(&format!("curl was refused with {refused:?}, not with {expected:?}"))).flatten()
}

/// Puts into an empty directory what the pages assume of the root of the source tree: the examples, and the processors
/// built from them.
fn prepare(directory: &Path) {
    let root = bulkhead_artifacts::root();
    symlink(root.join("examples"), directory.join("examples")).expect("a link");
    fs::create_dir(directory.join("target")).expect("a directory");
    symlink(root.join("target/guests"), directory.join("target/guests")).expect("a link");
}

#[test]
fn the_pages_that_are_not_run_have_examples() {
    for (path, reason) in NOT_RUN {
        assert!(!script(&Page::read(path)).is_empty(), "{path} has no examples; it is left out because it {reason}");
    }
}
