//! Sends files to the server: each once, and only those that the server does not have.

use std::collections::HashSet;
use std::fs::File;

use anyhow::Context;

use super::Artifact;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;

pub(crate) fn send(client: &Client, artifacts: &[&Artifact], screen: &Screen) -> Result<(), Failure> {
    let missing = missing(client, artifacts)?;
    let bar = screen.bar("uploading", missing.iter().map(|artifact| artifact.bytes).sum());
    for artifact in missing {
        let Some(path) = artifact.file() else {
            return Err(Failure::Usage(format!(
                "the server does not have `{}` (any more)\nhint: `bulkhead upload` sends a file",
                artifact.name()
            )));
        };
        let file = File::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        client.put_artifact(&artifact.sha256, artifact.bytes, &mut bar.wrap_read(file))?;
    }
    bar.finish_and_clear();
    Ok(())
}

fn missing<'a>(client: &Client, artifacts: &[&'a Artifact]) -> Result<Vec<&'a Artifact>, Failure> {
    let mut asked = HashSet::new();
    let mut missing = Vec::new();
    for &artifact in artifacts {
        if asked.insert(&artifact.sha256) && !client.has_artifact(&artifact.sha256)? {
            missing.push(artifact);
        }
    }
    Ok(missing)
}
