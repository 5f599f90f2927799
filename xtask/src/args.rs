//! The command line. Nine commands with few options need no library.

use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
usage: cargo xtask COMMAND

  setup            install prerequisites: the Wasm target, a Python venv for the SDK tests
  guests           build every example processor into target/guests
  demo [--once]    build everything, deploy the examples, cause every answer, then keep serving
                   --once: stop instead of serving
  test [ARGS]      run every test; with ARGS only `cargo test --workspace ARGS`
  chaos [--hours N] [FILTER]
                   run the long forms of the measuring tests; prints a line of JSON per figure, then a table
                   FILTER: run only tests whose name contains FILTER
                   --hours N: load a release build for N hours instead (0.1 is six minutes) and check for leaks
  release          build the host for distribution, target/dist/bulkhead, with profile-guided optimisation;
                   writes its symbols, manual pages and completions beside it
  bench [--plain] [--quick] [--queues]
                   compare with bare hyper, other servers and native code; writes target/bench/report.json and .html
                   --plain: build host and bare server with `cargo build --release`, without a profile
                   --quick: about two minutes once everything is built; leaves out servers that are not installed
                   --queues: only the measurements of queues
  docs [--check]   renew the pages of docs/reference, then build the book with mdBook in target/book
                   --check: only compare the pages with the code, and check links, examples and command lines";

#[derive(Debug, PartialEq)]
pub(crate) enum Task {
    Help,
    Setup,
    Guests,
    Demo {
        once: bool,
    },
    Test {
        args: Vec<String>,
    },
    Chaos {
        hours: Option<f64>,
        filter: Option<String>,
    },
    Release,
    Bench {
        quick: bool,
        plain: bool,
        queues: bool,
    },
    Docs {
        check: bool,
    },
    /// Runs the bare server, the other side of the comparison. `bench` starts itself with this command.
    BareServer,
    /// Runs the measurements. `bench` starts itself, built for release, with this command.
    Measure {
        host: PathBuf,
        quick: bool,
        plain: bool,
        queues: bool,
    },
    /// Sends the training load to a host that counts its branches. `release` starts this command.
    Train {
        host: PathBuf,
    },
    /// Sends the training load to this program's own bare server.
    TrainBare,
}

pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Task, String> {
    let mut args = args.peekable();
    let Some(command) = args.next() else { return Ok(Task::Help) };
    let rest: Vec<String> = args.collect();
    let words: Vec<&str> = rest.iter().map(String::as_str).collect();
    Ok(match (command.as_str(), words.as_slice()) {
        ("help" | "-h" | "--help", []) => Task::Help,
        ("setup", []) => Task::Setup,
        ("guests", []) => Task::Guests,
        ("demo", []) => Task::Demo { once: false },
        ("demo", ["--once"]) => Task::Demo { once: true },
        ("test", _) => Task::Test { args: rest },
        ("chaos", ["--hours", hours, filter @ ..]) if filter.len() < 2 => {
            let hours = hours.parse().ok().filter(|hours: &f64| hours.is_finite() && *hours > 0.0);
            let hours = hours.ok_or("`--hours` takes a number of hours, such as 2 or 0.1")?;
            Task::Chaos { hours: Some(hours), filter: filter.first().map(|filter| (*filter).to_owned()) }
        }
        ("chaos", []) => Task::Chaos { hours: None, filter: None },
        ("chaos", [filter]) if !filter.starts_with('-') => {
            Task::Chaos { hours: None, filter: Some((*filter).to_owned()) }
        }
        ("release", []) => Task::Release,
        ("bench", options) if are_of_bench(options) => {
            let has = |option| options.contains(&option);
            Task::Bench { quick: has("--quick"), plain: has("--plain"), queues: has("--queues") }
        }
        ("docs", []) => Task::Docs { check: false },
        ("docs", ["--check"]) => Task::Docs { check: true },
        ("bare-server", []) => Task::BareServer,
        ("train", [host]) => Task::Train { host: host.into() },
        ("train-bare", []) => Task::TrainBare,
        ("measure", [host, options @ ..]) if are_of_bench(options) => Task::Measure {
            host: host.into(),
            quick: options.contains(&"--quick"),
            plain: options.contains(&"--plain"),
            queues: options.contains(&"--queues"),
        },
        (
            "help" | "-h" | "--help" | "setup" | "guests" | "demo" | "chaos" | "release" | "bench" | "docs"
            | "bare-server" | "measure" | "train" | "train-bare",
            words,
        ) => {
            return Err(format!("`{command}` does not take `{}`", words.join(" ")));
        }
        _ => return Err(format!("there is no command `{command}`")),
    })
}

fn are_of_bench(options: &[&str]) -> bool {
    options.iter().all(|option| ["--plain", "--quick", "--queues"].contains(option))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(line: &str) -> Result<Task, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn commands_and_their_options() {
        assert_eq!(task(""), Ok(Task::Help));
        assert_eq!(task("demo --once"), Ok(Task::Demo { once: true }));
        assert_eq!(task("release"), Ok(Task::Release));
        assert_eq!(task("docs"), Ok(Task::Docs { check: false }));
        assert_eq!(task("docs --check"), Ok(Task::Docs { check: true }));
        assert_eq!(task("bench"), Ok(Task::Bench { quick: false, plain: false, queues: false }));
        assert_eq!(task("bench --quick"), Ok(Task::Bench { quick: true, plain: false, queues: false }));
        assert_eq!(task("bench --quick --plain"), Ok(Task::Bench { quick: true, plain: true, queues: false }));
        assert_eq!(task("bench --queues"), Ok(Task::Bench { quick: false, plain: false, queues: true }));
        let measure = |quick, plain| Ok(Task::Measure { host: "a".into(), quick, plain, queues: false });
        assert_eq!(task("measure a"), measure(false, false));
        assert_eq!(task("measure a --plain --quick"), measure(true, true));
        let chaos = |hours, filter: Option<&str>| Ok(Task::Chaos { hours, filter: filter.map(str::to_owned) });
        assert_eq!(task("chaos"), chaos(None, None));
        assert_eq!(task("chaos deploys::"), chaos(None, Some("deploys::")));
        assert_eq!(task("chaos --hours 0.5"), chaos(Some(0.5), None));
        assert_eq!(task("chaos --hours 2 soak"), chaos(Some(2.0), Some("soak")));
        assert_eq!(task("test -p x -- y"), Ok(Task::Test { args: ["-p", "x", "--", "y"].map(String::from).into() }));
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(task("demo --twice"), Err("`demo` does not take `--twice`".into()));
        assert_eq!(task("bench --quick --plane"), Err("`bench` does not take `--quick --plane`".into()));
        assert_eq!(task("release --fast"), Err("`release` does not take `--fast`".into()));
        assert_eq!(task("chaos --ours 1"), Err("`chaos` does not take `--ours 1`".into()));
        for hours in ["0", "-1", "inf", "two"] {
            assert!(task(&format!("chaos --hours {hours}")).is_err_and(|mistake| mistake.contains("number of hours")));
        }
        assert_eq!(task("demos"), Err("there is no command `demos`".into()));
    }
}
