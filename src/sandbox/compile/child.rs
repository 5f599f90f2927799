//! The compiling child: opens its files, gives up everything else, and only then looks at the upload.

use std::fs::{self, File};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use wasmtime::Engine;

use super::functions::{Known, Learnt};
use super::{confine, inspect, instrument, measure, offered};
use crate::sandbox::engine::{self, Metering};
use crate::sandbox::needs::Needs;
use crate::sandbox::state;

/// The child's exit code for input that is at fault.
pub(super) const REFUSED: u8 = 3;
/// The same for a disk that is full.
pub(super) const DISK_FULL: u8 = 4;
/// The compiler panicked, which is a bug of its own. Its output goes to the host's log only.
pub(super) const PANICKED: u8 = 5;

/// What the child is asked to do: the arguments of the hidden subcommand `compile`.
#[derive(Clone, Debug)]
pub struct CompileArgs {
    pub input: PathBuf,
    pub output: PathBuf,
    /// `fuel` or `epoch`.
    pub engine: String,
    /// The host's process, without which nobody waits for the result.
    pub parent: Option<i32>,
    /// What a guest held after `initialize`: the result is to begin with it.
    pub state: Option<PathBuf>,
    /// Machine code of single functions: read where there is a state, written where there is none.
    pub functions: Option<PathBuf>,
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
    let (code, reason) = match catch_unwind(AssertUnwindSafe(|| compile(args))) {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(Failure::Refused(reason))) => (REFUSED, reason),
        Ok(Err(Failure::DiskFull)) => (DISK_FULL, "the disk is full".to_owned()),
        Ok(Err(Failure::Own(reason))) => (1, reason),
        // The panic hook has printed the panic.
        Err(_) => return ExitCode::from(PANICKED),
    };
    eprintln!("{reason}");
    ExitCode::from(code)
}

fn compile(args: &CompileArgs) -> Result<(), Failure> {
    confine::limit(args.parent)?;
    let metering =
        Metering::from_name(&args.engine).ok_or(Failure::Own(format!("no engine is called {:?}", args.engine)))?;
    let own = |error: wasmtime::Error| Failure::Own(format!("{error:#}"));
    let wasm = fs::read(&args.input)?;
    let mut output = File::create(&args.output)?;
    match &args.state {
        None => {
            let learnt =
                args.functions.as_ref().map(File::create).transpose()?.map(|file| (file, Arc::<Learnt>::default()));
            let store = learnt.as_ref().map(|(_, learnt)| Arc::clone(learnt) as _);
            let engine = engine::compiling(metering, store).map_err(own)?;
            close();
            let Compiled { code, needs, hidden } = compile_upload(&engine, &wasm)?;
            finish(&mut output, &code)?;
            writeln!(io::stdout(), "{needs}")?;
            match (hidden, learnt) {
                (Some(reason), _) => writeln!(io::stdout(), "{reason}")?,
                // Half of it helps as well, and none of it does no harm.
                (None, Some((mut file, learnt))) => drop(learnt.write(&mut file)),
                (None, None) => {}
            }
            Ok(())
        }
        Some(state) => {
            let values = state::read(io::BufReader::new(File::open(state)?))?;
            let known = args.functions.as_ref().map(fs::read).transpose()?;
            let store = known.map(|known| Arc::new(Known::new(known)) as _);
            let engine = engine::compiling_image(metering, store).map_err(own)?;
            close();
            let image = instrument::with_state(&wasm, values).map_err(Failure::Refused)?;
            let (code, needs) = compiled(&engine, &image).map_err(Failure::Refused)?;
            finish(&mut output, &code)?;
            Ok(writeln!(io::stdout(), "{needs}")?)
        }
    }
}

fn finish(output: &mut File, code: &[u8]) -> Result<(), Failure> {
    output.write_all(code)?;
    Ok(output.sync_all()?)
}

/// Machine code of an upload.
struct Compiled {
    code: Vec<u8>,
    needs: Needs,
    /// Why it does not show its state, where it does not.
    hidden: Option<String>,
}

/// Compiles an upload such that it shows its state, or where that cannot be done, as it is.
fn compile_upload(engine: &Engine, wasm: &[u8]) -> Result<Compiled, Failure> {
    inspect::inspect(wasm).map_err(|refusal| Failure::Refused(refusal.to_string()))?;
    let instrumented = instrument::instrument(wasm).and_then(|shown| instrument::caught(|| compiled(engine, &shown)));
    match instrumented {
        Ok((code, needs)) => Ok(Compiled { code, needs, hidden: None }),
        Err(reason) => {
            let (code, needs) = compiled(engine, wasm).map_err(Failure::Refused)?;
            Ok(Compiled { code, needs, hidden: Some(reason) })
        }
    }
}

/// Machine code that the host can map, and the needs of its guests.
fn compiled(engine: &Engine, wasm: &[u8]) -> Result<(Vec<u8>, Needs), String> {
    let code = engine.precompile_component(wasm).map_err(|error| {
        let refusal = format!("{error:#}");
        match offered::extension_cure(&refusal) {
            Some(cure) => format!("{refusal}; {cure}"),
            None => refusal,
        }
    })?;
    let needs = measure::measure(&code)?;
    Ok((code, needs))
}

/// Nothing can be opened from here on.
fn close() {
    if let Err(reason) = confine::close() {
        // An old kernel lacks the means; the limits hold all the same, and the host is told.
        eprintln!("system calls are not filtered: {reason}");
    }
}
