use std::{collections::BTreeMap, env, fs, io, path::Path};

use bulkhead_guest::{Model, Request};
use serde::Serialize;

/// Everything that a processor can see of its call and its environment.
#[derive(Serialize)]
pub(crate) struct Sight<'a> {
    method: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    content_type: Option<&'a str>,
    body_bytes: usize,
    headers: Vec<(String, String)>,
    request_id: String,
    remaining_ms: u128,
    env: BTreeMap<String, String>,
    model: ModelSight<'a>,
}

#[derive(Serialize)]
struct ModelSight<'a> {
    dir: Option<&'a Path>,
    entry: Option<&'a str>,
    config: &'a str,
    files: Files,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Files {
    Names(Vec<String>),
    Unreadable { error: String },
}

pub(crate) fn sight<'a>(model: &'a Model, request: &'a Request) -> Sight<'a> {
    Sight {
        method: &request.method,
        path: &request.path,
        query: request.query.as_deref(),
        content_type: request.content_type.as_deref(),
        body_bytes: request.body.len(),
        headers: request.headers(),
        request_id: request.request_id(),
        remaining_ms: request.remaining().as_millis(),
        env: env::vars().collect(),
        model: ModelSight {
            dir: model.dir.as_deref(),
            entry: model.entry.as_deref(),
            config: &model.config,
            files: model.dir.as_deref().map_or(Files::Names(Vec::new()), files),
        },
    }
}

fn files(dir: &Path) -> Files {
    match names(dir) {
        Ok(names) => Files::Names(names),
        Err(error) => Files::Unreadable { error: error.to_string() },
    }
}

/// Lists the names in a directory, sorted: the directory's own order is not defined.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = fs::read_dir(dir)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}
