//! The exit codes of commands, and their error messages.

use std::fmt::{self, Display, Formatter};
use std::io;

use std::path::Path;

use serde_json::{Value, json};

use super::problem::{self, Problem};
use crate::config::Mistakes;

/// The exit code of a command. Scripts rely on these numbers; `bulkhead --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok = 0,
    Failed = 1,
    Usage = 2,
    Refused = 3,
    Unreachable = 4,
    NotFound = 5,
    /// The shells' code for a process that Ctrl-C ended: 128 plus the number of the signal.
    Interrupted = 130,
}

impl Exit {
    /// The exit code for an HTTP status. 5xx is `Failed`, not `Refused`: the same request may succeed later.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Ok,
            404 => Self::NotFound,
            400..=499 => Self::Refused,
            _ => Self::Failed,
        }
    }
}

/// The reason why a command failed. It never contains a token.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// A service file, or a change to one, has mistakes.
    Mistakes {
        origin: String,
        mistakes: Mistakes,
    },
    /// The server refused the request.
    Refused(Box<Problem>),
    /// Nothing has the given name, as other answers of the server show.
    Missing(String),
    /// No complete answer came.
    Unreachable {
        /// A whole sentence: no server, a server that is too slow, and a broken connection need different ones.
        what: String,
        hint: Option<&'static str>,
    },
    /// Standard output or error cannot be written.
    Output(io::Error),
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl Failure {
    pub(crate) fn in_file(path: &Path, mistakes: Mistakes) -> Self {
        Self::Mistakes { origin: format!("`{}`", path.display()), mistakes }
    }

    /// A failure to gather the files that a service file names: a mistake in the file, unless the system or the network
    /// failed.
    pub(super) fn of_gathering(error: anyhow::Error) -> Self {
        let is_outside =
            |cause: &(dyn std::error::Error + 'static)| cause.is::<io::Error>() || cause.is::<ureq::Error>();
        match error.chain().any(is_outside) {
            true => Self::Failed(error),
            false => Self::Usage(format!("{error:#}")),
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Mistakes { .. } => Exit::Usage,
            // The server found a mistake in the service file that this program did not know of.
            Self::Refused(problem) if problem.code == "invalid_service_file" => Exit::Usage,
            Self::Refused(problem) => match Exit::of_status(problem.status) {
                Exit::Ok => Exit::Failed,
                exit => exit,
            },
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::Missing(_) => Exit::NotFound,
            // The reader closed the pipe, as in `bulkhead list | head -1`. That is no failure.
            Self::Output(cause) if cause.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
            Self::Output(_) | Self::Failed(_) => Exit::Failed,
        }
    }

    /// The failure as JSON, for `--json`.
    pub(crate) fn to_json(&self) -> Value {
        let mut error = json!({ "exit": self.exit() as u8, "message": self.to_string() });
        match self {
            Self::Refused(problem) => {
                error["message"] = json!(problem::sentence(problem));
                error["problem"] = problem::to_json(problem);
            }
            Self::Mistakes { mistakes, .. } => error["errors"] = json!(mistakes),
            _ => {}
        }
        json!({ "error": error })
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) | Self::Missing(message) => f.write_str(message),
            Self::Mistakes { origin, mistakes } => {
                let count = mistakes.len();
                write!(f, "{count} mistake{} in {origin}", if count == 1 { "" } else { "s" })?;
                mistakes.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
            }
            Self::Refused(problem) => problem::Told(problem).fmt(f),
            Self::Unreachable { what, hint } => {
                f.write_str(what)?;
                match hint {
                    Some(hint) => write!(f, "\nhint: {hint}"),
                    None => Ok(()),
                }
            }
            Self::Output(cause) => write!(f, "cannot write the output: {cause}"),
            Self::Failed(error) => write!(f, "{error:#}"),
        }
    }
}
