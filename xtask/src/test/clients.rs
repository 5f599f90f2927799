//! Programs that `tests/it/clients.rs` runs and that may be missing on a machine.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::setup::Python;

/// Names each client that is missing on this machine, with the reason. The test itself leaves them out.
pub(super) fn missing(python: &Result<Python>) -> Vec<String> {
    let skipped = |client: &str, why: &str| format!("the requests of {client}: {why}");
    let mut names = Vec::new();
    for (client, program, argument, why) in [
        ("Node", "node", "--version", "there is no node"),
        ("Java", "javac", "-version", "there is no JDK (Debian: apt-get install default-jdk-headless)"),
        ("curl", "curl", "--version", "there is no curl"),
    ] {
        if !runs(program, argument) {
            names.push(skipped(client, why));
        }
    }
    if let Ok(Python::Missing(why)) = python {
        names.push(skipped("Python and Go", why));
    }
    names
}

fn runs(program: &str, argument: &str) -> bool {
    let status = Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
