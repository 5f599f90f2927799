//! Runs the README's tour as written.

use std::fs;
use std::process::{Command, Stdio};

use crate::host::binary;

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

/// Makes a command that runs in its own network and process namespace: the default ports may be in use on this machine,
/// and all started processes end with the namespace.
fn alone() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "--pid", "--fork", "--kill-child"]);
    command
}

/// Runs the tour line by line in a shell, in an empty directory. Only the line that builds the host in release mode is
/// left out; the tested binary takes its place.
#[test]
fn the_tour_works_as_it_is_written() {
    let can_be_alone = alone().args(["ip", "link", "set", "lo", "up"]).stderr(Stdio::null()).status();
    if !can_be_alone.is_ok_and(|status| status.success()) {
        println!("skipped: the tour needs a network namespace of its own (unshare --net), or ports 8080 and 8081");
        return;
    }
    let tour = tour();
    let (build, rest) = tour.split_once('\n').expect("several lines");
    assert!(build.starts_with("cargo build --release && export PATH="), "{build}");
    for step in ["serve &", "new ", "build", "test ", "create ", "invoke ", "curl "] {
        assert!(rest.contains(step), "no {step:?} in the tour:\n{rest}");
    }

    let directory = tempfile::tempdir().expect("a directory");
    let bin = directory.path().join("bin");
    fs::create_dir(&bin).expect("a directory");
    std::os::unix::fs::symlink(binary(), bin.join("bulkhead")).expect("a link");
    let script = format!("set -ex\nip link set lo up\n{rest}\necho; echo the tour has ended\n");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let (out, err) = (directory.path().join("out"), directory.path().join("err"));
    // The output goes to files, because the server keeps its output open until it has ended.
    let status = alone()
        .args(["bash", "-c", &script])
        .current_dir(directory.path())
        .env("PATH", path)
        .env("XDG_CONFIG_HOME", directory.path().join("config"))
        .env("CARGO_NET_OFFLINE", "true")
        .env_remove("BULKHEAD_ADMIN")
        .env_remove("BULKHEAD_ADMIN_TOKEN")
        .env_remove("BULKHEAD_DATA")
        .stdin(Stdio::null())
        .stdout(fs::File::create(&out).expect("a file"))
        .stderr(fs::File::create(&err).expect("a file"))
        .status()
        .expect("it runs");
    let read = |path| fs::read_to_string(path).expect("text");
    let (out, err) = (read(&out), read(&err));
    assert!(status.success(), "{status}\n{out}\n{err}");
    assert!(out.contains("listening data=127.0.0.1:8080 admin=127.0.0.1:8081"), "{out}");
    // Printed by `test`, by `invoke` and by curl.
    let answers = out.lines().filter(|line| *line == "words: 3").count();
    assert_eq!(answers, 3, "{out}\n{err}");
    assert!(out.trim_end().ends_with("the tour has ended"), "{out}");
}
