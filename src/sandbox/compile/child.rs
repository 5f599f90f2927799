//! The compiling child: opens its two files, gives up everything else, and only then looks at the upload.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::{confine, inspect};
use crate::sandbox::engine::{self, Metering};

/// The child's exit code for input that is at fault.
pub(super) const REFUSED: u8 = 3;
/// The same for a disk that is full.
pub(super) const DISK_FULL: u8 = 4;

/// What the child is asked to do: the arguments of the hidden subcommand `compile`.
#[derive(Clone, Debug)]
pub struct CompileArgs {
    pub input: PathBuf,
    pub output: PathBuf,
    /// `fuel` or `epoch`.
    pub engine: String,
    /// The host's process, without which nobody waits for the result.
    pub parent: Option<i32>,
}

/// Why the child gives up.
enum Failure {
    /// The upload is at fault.
    Refused(String),
    DiskFull,
    Own(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Own(error.to_string()),
        }
    }
}

/// The body of the hidden subcommand `compile`.
pub fn compile_child(args: &CompileArgs) -> ExitCode {
    let (code, reason) = match compile(args) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Refused(reason)) => (REFUSED, reason),
        Err(Failure::DiskFull) => (DISK_FULL, "the disk is full".to_owned()),
        Err(Failure::Own(reason)) => (1, reason),
    };
    eprintln!("{reason}");
    ExitCode::from(code)
}

fn compile(args: &CompileArgs) -> Result<(), Failure> {
    confine::limit(args.parent)?;
    let metering =
        Metering::from_name(&args.engine).ok_or(Failure::Own(format!("no engine is called {:?}", args.engine)))?;
    let engine = engine::compiling(metering).map_err(|error| Failure::Own(format!("{error:#}")))?;
    let wasm = fs::read(&args.input)?;
    let mut output = File::create(&args.output)?;
    if let Err(reason) = confine::close() {
        // An old kernel lacks the means; the limits hold all the same, and the host is told.
        eprintln!("system calls are not filtered: {reason}");
    }
    inspect::inspect(&wasm).map_err(|refusal| Failure::Refused(refusal.to_string()))?;
    let code = engine.precompile_component(&wasm).map_err(|error| Failure::Refused(format!("{error:#}")))?;
    output.write_all(&code)?;
    output.sync_all()?;
    Ok(())
}
