//! Failpoints: places where tests kill the host, make it panic or hang, or fill its disk.
//!
//! Debug builds read `BULKHEAD_FAILPOINTS`, a list like `deploy.kept=kill;host.request_id=panic`. Release builds have
//! no failpoints: [`reach`] is empty there.

/// Performs the action that the environment sets for `place`, if any.
///
/// `kill` ends the process as `kill -9` does, `panic` panics, `hold:FIFO` waits until the named pipe is opened for
/// writing, and `full` makes [`is_full`] return an error. `kill@2` acts on the second call only, and so on.
#[cfg(debug_assertions)]
pub fn reach(place: &str) {
    match action(place) {
        None | Some("full") => {}
        Some("panic") => panic!("asked to panic at {place}"),
        Some("kill") => {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
        Some(other) => match other.strip_prefix("hold:") {
            // Opening a pipe for reading blocks until it is opened for writing.
            Some(fifo) => drop(std::fs::File::open(fifo)),
            None => panic!("{other:?} is not an action for failpoint {place}"),
        },
    }
}

/// Returns the error of a full disk if the environment asks for it at `place`.
///
/// # Errors
/// If the action for `place` is `full`.
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

/// Counts one more call of `place`, and returns the number of calls so far.
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
