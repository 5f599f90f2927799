//! Sends files to the server: each once, and only those that the server does not have.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;

use anyhow::Context;

use super::Artifact;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::problem::Problem;
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
        let put = client.put_artifact(&artifact.sha256, artifact.bytes, &mut bar.wrap_read(file));
        put.map_err(|failure| naming(path, artifact.bytes, failure))?;
    }
    bar.finish_and_clear();
    Ok(())
}

/// Names the file that the server refuses as too large: an upload may consist of thousands.
fn naming(path: &Path, bytes: u64, failure: Failure) -> Failure {
    match failure {
        Failure::Refused(problem) if problem.status == 413 => {
            let detail = format!("`{}` has {bytes} bytes: {}", path.display(), problem.detail);
            let hint = problem.hint.unwrap_or_else(|| {
                "no setting raises this limit; split a file of a model, and join the parts in `initialize`".into()
            });
            Failure::Refused(Box::new(Problem { detail: detail.into(), hint: Some(hint), ..*problem }))
        }
        failure => failure,
    }
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
