//! The compiling child as the host sees it: started, read to its end, and stopped if it takes too long.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::super::engine::EngineKind;
use super::{CompileError, child, confine};

/// Ten times the child's limit of processor time: the child is niced, and gets a tenth of a busy core.
const CHILD_WALL: Duration = Duration::from_secs(600);
/// Most bytes kept of each of the child's outputs.
const MAX_COMPLAINT: u64 = 16 << 10;

/// Runs `program compile` with `args`, and returns its standard output. Dropping the future ends the child.
pub(super) async fn run(program: &Path, kind: EngineKind, args: &[&OsStr]) -> Result<String, CompileError> {
    let mut command = Command::new(program);
    // The name in lists of processes; the program may be a link of another name.
    command.arg0("bulkhead");
    command
        .args(["compile", "--engine", kind.name(), "--parent", &std::process::id().to_string()])
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // The child dies with the thread that started it (see [`confine::limit`]). A worker thread of the runtime may end
    // while its tasks continue: after `block_in_place` another thread replaces it. The thread here waits until the
    // child has ended.
    let (wanted, given_up) = oneshot::channel::<()>();
    let runtime = Handle::current();
    let work = move || {
        runtime.block_on(async {
            tokio::select! {
                // Checked first, because the child's time limit cannot be polled while the runtime itself ends.
                biased;
                _ = given_up => Err(CompileError::Io(io::ErrorKind::Interrupted.into())),
                ended = hear(command) => ended,
            }
        })
    };
    let ended = tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?;
    drop(wanted);
    ended
}

/// Starts the child, reads its outputs to the end, and returns the outcome.
async fn hear(mut command: Command) -> Result<String, CompileError> {
    let mut child = command.spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended = tokio::time::timeout(CHILD_WALL, async {
        let (answer, complaint) = tokio::try_join!(listen(stdout), listen(stderr))?;
        Ok::<_, io::Error>((child.wait().await?, answer, complaint))
    });
    let (status, answer, complaint) = match ended.await {
        Ok(ended) => ended?,
        Err(_) => return Err(CompileError::Stopped(format!("it took longer than {} s", CHILD_WALL.as_secs()))),
    };
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(0) => {
            if !complaint.is_empty() {
                tracing::warn!(complaint, "the compiler ran with less confinement than it should");
            }
            Ok(answer)
        }
        Some(child::REFUSED) => Err(CompileError::Refused(printable(&complaint))),
        Some(child::ASYNCHRONOUS) => Err(CompileError::Asynchronous),
        Some(child::DISK_FULL) => Err(CompileError::Io(io::ErrorKind::StorageFull.into())),
        _ => Err(CompileError::Stopped(stopped(status, &complaint))),
    }
}

/// Returns the reason why the child failed, for the uploader. The child's own output goes to the log only: it may
/// contain paths of the machine that built the host.
fn stopped(status: ExitStatus, complaint: &str) -> String {
    if let Some(limit) = status.signal().and_then(|signal| confine::limit_of(signal, complaint)) {
        tracing::warn!(%status, complaint, limit, "compilation stopped at a limit");
        return limit;
    }
    tracing::error!(%status, complaint, "the compiler crashed");
    if confine::is_out_of_memory(complaint) {
        return confine::out_of_memory();
    }
    "the compiler crashed on it; the host's log says more".into()
}

/// Escapes control characters, which a name in a component may contain.
fn printable(text: &str) -> String {
    text.chars().flat_map(|char| if char.is_control() { char.escape_default().collect() } else { vec![char] }).collect()
}

/// Returns the beginning of an output. The rest is read too, so that the child is not blocked.
async fn listen(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<String> {
    let mut said = Vec::new();
    if let Some(pipe) = pipe {
        let mut pipe = pipe.take(MAX_COMPLAINT);
        pipe.read_to_end(&mut said).await?;
        tokio::io::copy(pipe.get_mut(), &mut tokio::io::sink()).await?;
    }
    Ok(String::from_utf8_lossy(&said).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output of a crashed child contains paths of the machine that built it.
    #[test]
    fn how_a_child_ended_is_told_in_plain_words() {
        let raw = "thread 'main' panicked at /build/registry/wasmtime-environ/src/adapt.rs:249:14:\nnote: run with";
        let exited = |code: i32| ExitStatus::from_raw(code << 8);
        let killed = ExitStatus::from_raw;
        for (status, said, told) in [
            (exited(child::PANICKED.into()), raw, "crashed on it"),
            (exited(101), raw, "crashed on it"),
            (killed(libc::SIGSEGV), "", "crashed on it"),
            (killed(libc::SIGABRT), "memory allocation of 17 bytes failed", "3072 MiB of memory"),
            (exited(child::PANICKED.into()), "panicked: Cannot allocate memory (os error 12)", "3072 MiB of memory"),
            (killed(libc::SIGABRT), "thread 'main' has overflowed its stack", "nested more deeply"),
            (killed(libc::SIGABRT), "", "crashed on it"),
            (killed(libc::SIGXCPU), "", "60 s of processor time"),
            (killed(libc::SIGKILL), "", "the machine's memory"),
            (killed(libc::SIGXFSZ), "", "256 MiB"),
        ] {
            let found = stopped(status, said);
            assert!(found.contains(told), "{status} {said}: {found}");
            assert!(!found.contains('/') && !found.contains("panicked"), "{found}");
        }
    }

    #[test]
    fn names_of_a_component_do_not_drive_a_terminal() {
        assert_eq!(printable("it imports \u{1b}[2J\r\nä"), "it imports \\u{1b}[2J\\r\\nä");
    }
}
