//! Places where tests make the host fail as a machine would: killed, out of luck, or stuck.
//!
//! Debug builds read `BULKHEAD_FAILPOINTS`, a list like `deploy.kept=kill;host.request_id=panic`. Release builds have no
//! such places: there [`reach`] is empty.

/// The host has come to `place`; what the environment asks for there happens now.
///
/// `kill` ends the process as `kill -9` does, `panic` panics, `hold:FIFO` waits until somebody opens the named pipe for
/// writing, and `full` makes [`is_full`] say so. `kill@2` and its like happen the second time only.
#[cfg(debug_assertions)]
pub fn reach(place: &str) {
    match action(place) {
        None | Some("full") => {}
        Some("panic") => panic!("asked to panic at {place}"),
        Some("kill") => {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
        Some(other) => match other.strip_prefix("hold:") {
            // Opening a pipe for reading waits for its writer.
            Some(fifo) => drop(std::fs::File::open(fifo)),
            None => panic!("{other:?} is nothing that can happen at {place}"),
        },
    }
}

/// An error as of a full disk, where the environment asks for one at `place`.
///
/// # Errors
/// When asked to.
#[cfg(debug_assertions)]
pub fn is_full(place: &str) -> std::io::Result<()> {
    match action(place) {
        Some("full") => Err(std::io::ErrorKind::StorageFull.into()),
        _ => Ok(()),
    }
}

#[cfg(debug_assertions)]
fn action(place: &str) -> Option<&'static str> {
    static WANTED: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| std::env::var("BULKHEAD_FAILPOINTS").unwrap_or_default());
    let wanted = WANTED.split(';').find_map(|wanted| wanted.strip_prefix(place)?.strip_prefix('='))?;
    match wanted.rsplit_once('@').and_then(|(action, time)| Some((action, time.parse::<u32>().ok()?))) {
        Some((action, time)) => (arrivals(place) == time).then_some(action),
        None => Some(wanted),
    }
}

/// How often the host has come to `place`, now included.
#[cfg(debug_assertions)]
fn arrivals(place: &str) -> u32 {
    use std::collections::HashMap;
    use std::sync::{LazyLock, Mutex, PoisonError};
    static ARRIVALS: LazyLock<Mutex<HashMap<String, u32>>> = LazyLock::new(Mutex::default);
    let mut arrivals = ARRIVALS.lock().unwrap_or_else(PoisonError::into_inner);
    let count = arrivals.entry(place.to_owned()).or_default();
    *count += 1;
    *count
}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn reach(_place: &str) {}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn is_full(_place: &str) -> std::io::Result<()> {
    Ok(())
}
