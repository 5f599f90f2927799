//! Downloads the files that a service file names by URL.

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ureq::Agent;
use ureq::http::Uri;

use super::limits::Budget;
use crate::cli::client::{agent, is_loopback};
use crate::cli::screen::Screen;

const CONNECT: Duration = Duration::from_secs(10);
/// The longest time without progress in a download.
const SILENCE: Duration = Duration::from_secs(60);
const MAX_REDIRECTS: u32 = 10;

/// Writes the body of the answer to `file`.
pub(super) fn fetch(uri: &Uri, file: &mut File, budget: &mut Budget, screen: &Screen) -> Result<()> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(MAX_REDIRECTS)
        .timeout_connect(Some(CONNECT))
        .timeout_per_read(Some(SILENCE))
        .timeout_per_write(Some(SILENCE))
        .user_agent(concat!("bulkhead/", env!("CARGO_PKG_VERSION")));
    if is_loopback(&uri.to_string()) {
        config = config.proxy(None);
    }
    let response = agent(config.build()).get(uri.clone()).call().context("cannot download it")?;
    if !response.status().is_success() {
        bail!("cannot download it: the answer's status is {}", response.status());
    }
    let length = response.body().content_length();
    let bar = screen.bar("downloading", length.unwrap_or(0));
    let mut body = bar.wrap_read(response.into_body().into_reader());
    copy(&mut body, file, budget)?;
    bar.finish_and_clear();
    Ok(())
}

fn copy(from: &mut impl Read, to: &mut File, budget: &mut Budget) -> Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => return Err(cause).context("the download broke off"),
        };
        if let Err(limit) = budget.bytes(count as u64) {
            bail!("the download {limit}");
        }
        to.write_all(&buffer[..count]).context("cannot store the download")?;
    }
}
