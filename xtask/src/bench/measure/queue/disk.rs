//! The disk's own speed.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::bench::measure::stats::Times;

/// Measures the time of a sync of appended data, one after the other.
pub(super) fn syncs(directory: &Path, time: Duration) -> Result<Times> {
    let path = directory.join("sync");
    let mut file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let (end, mut times) = (Instant::now() + time, Vec::new());
    while Instant::now() < end {
        file.write_all(&[7; 4096])?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed());
    }
    fs::remove_file(&path)?;
    Ok(Times::of(times))
}
