//! The bodies of the requests: one text, the lines of a file, or the files of a directory.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::BenchArgs;
use crate::cli::failure::Failure;
use crate::cli::payload;

/// Most bytes of all bodies together. They are kept in memory.
const MAX_BODIES: u64 = 256 << 20;

impl BenchArgs {
    pub(super) fn bodies(&self) -> Result<Vec<Vec<u8>>, Failure> {
        if let Some(body) = &self.body {
            return Ok(vec![payload::read(body)?]);
        }
        if let Some(file) = &self.lines {
            let text = read(file, MAX_BODIES)?;
            let lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
            let bodies: Vec<Vec<u8>> = lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect();
            return some(bodies, file, "line");
        }
        let Some(directory) = &self.data_dir else { return Ok(Vec::new()) };
        let cannot = || format!("cannot read the directory `{}`", directory.display());
        let entries =
            fs::read_dir(directory).with_context(cannot)?.collect::<Result<Vec<_>, _>>().with_context(cannot)?;
        let mut files: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).filter(|path| path.is_file()).collect();
        files.sort_unstable();
        let (mut bodies, mut left) = (Vec::new(), MAX_BODIES);
        for file in files {
            let body = read(&file, left)?;
            left -= body.len() as u64;
            bodies.push(body);
        }
        some(bodies, directory, "file")
    }
}

fn read(file: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let cannot = || format!("cannot read `{}`", file.display());
    let length = fs::metadata(file).with_context(cannot)?.len();
    if length > limit {
        let what = format!("`{}`: the bodies are larger than {} MiB together", file.display(), MAX_BODIES >> 20);
        return Err(Failure::Usage(what));
    }
    Ok(fs::read(file).with_context(cannot)?)
}

fn some(bodies: Vec<Vec<u8>>, origin: &Path, what: &str) -> Result<Vec<Vec<u8>>, Failure> {
    match bodies.is_empty() {
        true => Err(Failure::Usage(format!("`{}` has no {what} to send", origin.display()))),
        false => Ok(bodies),
    }
}
