//! Queued work: a picture that is rendered tile by tile, watched while it grows, and taken out of the sink.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::host::Host;
use crate::http::{self, Connection};
use crate::services::Service;

const JOB: &[u8] = br#"{"width": 512, "height": 256, "seconds": 3}"#;
const PATIENCE: Duration = Duration::from_secs(60);
const BAR: usize = 32;
/// The first bytes of every PNG file.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Puts a job, shows its progress, and writes the picture into `directory`. Returns true if it is a picture.
pub(super) fn render(host: &Host, service: &Service, directory: &Path) -> Result<bool> {
    let index = call(host, "POST", service, "?requestId=demo", JOB)?.text();
    println!("\nA picture in the making: item {index} of the queue of `{}`:\n", service.name);
    let began = Instant::now();
    let mut connection = Connection::open(host.data)?;
    let search = request("GET", service, &format!("?_search_=true&_index_={index}"), b"");
    let mut shown = String::new();
    loop {
        connection.send(&search)?;
        let found = connection.receive()?;
        let state = match (found.status, found.json()) {
            (200, Some(state)) => state,
            // Its result is in the sink.
            (204 | 404, _) => break,
            (status, _) => bail!("the search was answered with {status}: {}", found.text()),
        };
        let progress = &state["Progress"];
        let note = progress["Note"].as_str().unwrap_or("waits for a worker");
        let line = format!("  {} {note}", bar(progress["Fraction"].as_f64().unwrap_or_default()));
        if line != shown && std::io::stdout().is_terminal() {
            print!("\r{line:60}");
            std::io::stdout().flush()?;
            shown = line;
        }
        if began.elapsed() > PATIENCE {
            bail!("the picture is not ready after {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let picture = call(host, "GET", service, "/sink?requestId=demo&_timeout_=30s", b"")?.body;
    let file = directory.join("picture.png");
    fs::write(&file, &picture).with_context(|| format!("cannot write {}", file.display()))?;
    println!("\r  {} {:26}", bar(1.0), "done");
    println!("  {} bytes after {:.1} s: {}\n", picture.len(), began.elapsed().as_secs_f64(), file.display());
    Ok(picture.starts_with(PNG))
}

fn request(method: &str, service: &Service, query: &str, body: &[u8]) -> Vec<u8> {
    http::request(method, &format!("{}{query}", service.path()), &service.token, body)
}

fn call(host: &Host, method: &str, service: &Service, query: &str, body: &[u8]) -> Result<http::Response> {
    let answer = http::call(host.data, &request(method, service, query, body))?;
    if answer.status != 200 {
        bail!("{method} {query} was answered with {}: {}", answer.status, answer.text());
    }
    Ok(answer)
}

fn bar(fraction: f64) -> String {
    let full = (fraction.clamp(0.0, 1.0) * BAR as f64) as usize;
    format!("[{}{}] {:3.0} %", "█".repeat(full), "·".repeat(BAR - full), fraction * 100.0)
}
