//! The compiling child: opens its files, gives up all other access, and only then parses the upload.

use std::fs::{self, File};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use wasmtime::Engine;

use super::functions::{Known, Learnt};
use super::{bounds, confine, inspect, instrument, measure, offered};
use crate::sandbox::engine::{self, EngineKind};
use crate::sandbox::needs::Needs;
use crate::sandbox::state;

/// The child's exit code if its input is at fault.
pub(super) const REFUSED: u8 = 3;
/// The child's exit code if the disk is full.
pub(super) const DISK_FULL: u8 = 4;
/// The child's exit code if the compiler panicked, which is a bug of its own. Its output goes to the host's log only.
pub(super) const PANICKED: u8 = 5;

/// The child's exit code if the component needs an engine with asynchronous functions.
pub(super) const ASYNCHRONOUS: u8 = 6;

/// The task of the child: the arguments of the hidden subcommand `compile`.
#[derive(Clone, Debug)]
pub struct CompileArgs {
    pub input: PathBuf,
    pub output: PathBuf,
    /// `fuel`, `epoch` or `async`.
    pub engine: String,
    /// The process id of the host, with which the child ends.
    pub parent: Option<i32>,
    /// The state of a guest after `initialize`. A guest of the compiled component starts with it.
    pub state: Option<PathBuf>,
    /// Machine code of single functions: read if there is a state, written if there is none.
    pub functions: Option<PathBuf>,
}

/// The reason why the child fails.
enum Failure {
    /// The upload is at fault.
    Refused(String),
    Asynchronous,
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

/// Runs the hidden subcommand `compile`.
pub fn compile_child(args: &CompileArgs) -> ExitCode {
    let (code, reason) = match catch_unwind(AssertUnwindSafe(|| compile(args))) {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(Failure::Refused(reason))) => (REFUSED, reason),
        Ok(Err(Failure::Asynchronous)) => (ASYNCHRONOUS, "it has asynchronous functions".to_owned()),
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
    let kind =
        EngineKind::from_name(&args.engine).ok_or(Failure::Own(format!("no engine is called {:?}", args.engine)))?;
    let own = |error: wasmtime::Error| Failure::Own(format!("{error:#}"));
    let wasm = fs::read(&args.input)?;
    let mut output = File::create(&args.output)?;
    match &args.state {
        None => {
            let learnt =
                args.functions.as_ref().map(File::create).transpose()?.map(|file| (file, Arc::<Learnt>::default()));
            let store = learnt.as_ref().map(|(_, learnt)| Arc::clone(learnt) as _);
            let engine = engine::compiling(kind, store).map_err(own)?;
            close();
            let Compiled { code, needs, hidden } = compile_upload(&engine, kind, &wasm)?;
            finish(&mut output, &code)?;
            writeln!(io::stdout(), "{needs}")?;
            match (hidden, learnt) {
                (Some(reason), _) => writeln!(io::stdout(), "{reason}")?,
                // A part of the functions helps too, and the lack of them does no harm.
                (None, Some((mut file, learnt))) => drop(learnt.write(&mut file)),
                (None, None) => {}
            }
            Ok(())
        }
        Some(state) => {
            let values = state::read(io::BufReader::new(File::open(state)?))?;
            let known = args.functions.as_ref().map(fs::read).transpose()?;
            let store = known.map(|known| Arc::new(Known::new(known)) as _);
            let engine = engine::compiling_image(kind, store).map_err(own)?;
            close();
            let image = instrument::with_state(&wasm, values).map_err(Failure::Refused)?;
            let (code, needs) = compiled(&engine, kind, &image).map_err(Failure::Refused)?;
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
    /// The reason why the component does not expose its state; `None` if it does.
    hidden: Option<String>,
}

/// Compiles an upload so that it exposes its state, or unchanged if that is not possible.
fn compile_upload(engine: &Engine, kind: EngineKind, wasm: &[u8]) -> Result<Compiled, Failure> {
    let refused = |refusal: bounds::Refusal| Failure::Refused(refusal.to_string());
    if kind != EngineKind::Async && inspect::needs_async_engine(wasm).map_err(refused)? {
        return Err(Failure::Asynchronous);
    }
    inspect::inspect(wasm, kind).map_err(refused)?;
    if kind == EngineKind::Async {
        let (code, needs) = compiled(engine, kind, wasm).map_err(Failure::Refused)?;
        // No snapshot is taken of it.
        return Ok(Compiled { code, needs, hidden: None });
    }
    let instrumented =
        instrument::instrument(wasm).and_then(|shown| instrument::caught(|| compiled(engine, kind, &shown)));
    match instrumented {
        Ok((code, needs)) => Ok(Compiled { code, needs, hidden: None }),
        Err(reason) => {
            let (code, needs) = compiled(engine, kind, wasm).map_err(Failure::Refused)?;
            Ok(Compiled { code, needs, hidden: Some(reason) })
        }
    }
}

/// Returns machine code that the host can map, and the needs of its guests.
fn compiled(engine: &Engine, kind: EngineKind, wasm: &[u8]) -> Result<(Vec<u8>, Needs), String> {
    let code = engine.precompile_component(wasm).map_err(|error| {
        let refusal = format!("{error:#}");
        match offered::extension_cure(&refusal) {
            Some(cure) => format!("{refusal}; {cure}"),
            None => refusal,
        }
    })?;
    let needs = measure::measure(&code, kind)?;
    Ok((code, needs))
}

/// Gives up all access to files that are not open yet.
fn close() {
    if let Err(reason) = confine::close() {
        // An old kernel lacks the filter; the limits apply nevertheless, and the host is told.
        eprintln!("system calls are not filtered: {reason}");
    }
}
