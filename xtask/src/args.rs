//! The command line. Six commands with hardly an option between them need no library.

use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
usage: cargo xtask COMMAND

  setup            install what the others need: the Wasm target, a Python venv for the SDK tests
  guests           build every example processor into target/guests
  demo [--once]    build everything, deploy the examples, provoke every answer, then keep serving
                   --once: end instead
  test [ARGS]      run every test; with ARGS only `cargo test --workspace ARGS`
  bench [--quick]  measure against a bare hyper server; --quick takes less than two minutes";

#[derive(Debug, PartialEq, Eq)]
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
    Bench {
        quick: bool,
    },
    /// What `bench` runs itself as: the other side of the comparison.
    BareServer,
    /// What `bench` runs itself as, built for release.
    Measure {
        host: PathBuf,
        quick: bool,
    },
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
        ("bench", []) => Task::Bench { quick: false },
        ("bench", ["--quick"]) => Task::Bench { quick: true },
        ("bare-server", []) => Task::BareServer,
        ("measure", [host]) => Task::Measure { host: host.into(), quick: false },
        ("measure", [host, "--quick"]) => Task::Measure { host: host.into(), quick: true },
        ("help" | "-h" | "--help" | "setup" | "guests" | "demo" | "bench" | "bare-server" | "measure", words) => {
            return Err(format!("`{command}` does not take `{}`", words.join(" ")));
        }
        _ => return Err(format!("there is no command `{command}`")),
    })
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
        assert_eq!(task("bench --quick"), Ok(Task::Bench { quick: true }));
        assert_eq!(task("test -p x -- y"), Ok(Task::Test { args: ["-p", "x", "--", "y"].map(String::from).into() }));
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(task("demo --twice"), Err("`demo` does not take `--twice`".into()));
        assert_eq!(task("demos"), Err("there is no command `demos`".into()));
    }
}
