//! The command `build`: compiles a processor crate to a component, with flags that suit the host.
//!
//! Cargo does the work and prints its own messages. This module first checks for what is missing, and afterwards finds
//! the component.

mod flags;
mod native;

use std::fs;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use indicatif::HumanBytes;
use serde::Deserialize;
use serde_json::json;

use self::native::Heard;
use super::failure::{Exit, Failure};
use super::screen::Screen;

const TARGET: &str = "wasm32-wasip2";
#[derive(Args, Debug)]
#[command(after_help = "\
The component is copied to DIR/NAME.wasm, where NAME is the crate's name. It is compiled with vector instructions and
unrolled loops, in addition to the rustflags of the project's .cargo/config.toml. Flags in the environment variable
RUSTFLAGS come last and take precedence; as always with cargo, they replace those of the file.

A dependency that is written in C or C++ needs wasi-sdk; set WASI_SDK_PATH to its directory. Many such crates have a
feature that uses only Rust; if such a crate fails to compile, the last line of the error names an alternative.

Examples:
  bulkhead build
  bulkhead build examples/digits --json")]
pub(super) struct BuildArgs {
    /// The crate's directory
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// Optimise (the default)
    #[arg(long, conflicts_with = "debug")]
    release: bool,
    /// Compile quickly and without optimisation
    #[arg(long)]
    debug: bool,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    id: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

/// Cargo's message about a finished crate. All other messages lack one of these fields.
#[derive(Deserialize)]
struct Finished {
    reason: String,
    package_id: String,
    filenames: Vec<PathBuf>,
}

pub(super) fn build(args: &BuildArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let directory = &args.directory;
    let package = Package::find(directory)?;
    install_target(directory, screen)?;
    let component = compile(directory, &package, args.debug)?;
    let copy = directory.join(format!("{}.wasm", package.name));
    let bytes = fs::copy(&component, &copy).with_context(|| format!("cannot write `{}`", copy.display()))?;
    if screen.is_json() {
        screen.json(&json!({ "name": package.name, "file": copy, "bytes": bytes }))?;
    } else {
        screen.line(format_args!("{} ({})", copy.display(), HumanBytes(bytes)))?;
    }
    Ok(Exit::Ok)
}

impl Package {
    /// The crate whose manifest lies in this directory, as cargo sees it.
    fn find(directory: &Path) -> Result<Self> {
        let manifest = directory.join("Cargo.toml");
        let Ok(manifest) = fs::canonicalize(&manifest) else {
            bail!("there is no `{}`; `bulkhead new` makes a crate", manifest.display());
        };
        let output =
            cargo(directory).args(["metadata", "--no-deps", "--format-version", "1"]).stderr(Stdio::inherit()).output();
        let output = output.map_err(|cause| not_run("cargo", &cause))?;
        if !output.status.success() {
            bail!("cargo cannot read `{}`; it says why above", manifest.display());
        }
        let metadata: Metadata =
            serde_json::from_slice(&output.stdout).context("cargo's description of the crate cannot be read")?;
        let same = |package: &Self| fs::canonicalize(&package.manifest_path).is_ok_and(|path| path == manifest);
        let Some(package) = metadata.packages.into_iter().find(same) else {
            bail!("`{}` is a workspace and no crate; name the directory of one of its crates", manifest.display());
        };
        let component = |target: &Target| target.crate_types.iter().any(|kind| kind == "cdylib");
        if !package.targets.iter().any(component) {
            bail!(
                "`{}` makes no component: it needs crate-type = [\"cdylib\", \"rlib\"] under [lib]",
                manifest.display()
            );
        }
        Ok(package)
    }
}

/// Installs the standard library for the target if it is missing. `rustc` runs in the crate's directory, so that a
/// toolchain file there takes effect.
fn install_target(directory: &Path, screen: &mut Screen) -> Result<()> {
    if is_installed(directory)? {
        return Ok(());
    }
    screen.note(format_args!("adding the target {TARGET} with rustup"));
    let status =
        Command::new("rustup").args(["target", "add", TARGET]).current_dir(directory).stdout(io::stderr()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("`rustup target add {TARGET}` failed ({status}); it says why above"),
        Err(cause) => bail!("the target {TARGET} is not installed, and {:#}", not_run("rustup", &cause)),
    }
}

fn is_installed(directory: &Path) -> Result<bool> {
    let output =
        Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).current_dir(directory).output();
    let output = output.map_err(|cause| not_run("rustc", &cause))?;
    if !output.status.success() {
        bail!("rustc does not know the target {TARGET}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let libraries = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    Ok(fs::read_dir(libraries).is_ok_and(|mut files| files.next().is_some()))
}

/// Runs cargo, which shows its own progress, and finds the component in its messages.
fn compile(directory: &Path, package: &Package, debug: bool) -> Result<PathBuf> {
    let mut command = cargo(directory);
    command.args(["build", "--lib", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    command.args(["--package", &package.id]);
    if !debug {
        command.arg("--release");
    }
    let (variable, flags) = flags::variable(|name| std::env::var_os(name));
    command.env(variable, flags);
    draw(&mut command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|cause| not_run("cargo", &cause))?;
    let messages = child.stdout.take().context("cargo has no output")?;
    let said = child.stderr.take().context("cargo has no output")?;
    let listener = thread::spawn(move || Heard::pass_on(said, io::stderr()));
    let component = find_component(BufReader::new(messages), package);
    let status = child.wait().context("cannot wait for cargo")?;
    let heard = listener.join().ok().and_then(Result::ok).unwrap_or_default();
    if !status.success() {
        bail!("{}", heard.explain(&package.name));
    }
    component?.ok_or_else(|| anyhow!("cargo built `{}` but named no .wasm file", package.name))
}

/// Makes cargo use colours and a progress bar if its output is passed on to a terminal.
fn draw(command: &mut Command) {
    let stderr = io::stderr();
    if !stderr.is_terminal() {
        return;
    }
    let columns = rustix::termios::tcgetwinsize(&stderr).map_or(80, |size| size.ws_col.max(20));
    let unless_set = |name: &str| std::env::var_os(name).is_none();
    for (name, value) in [
        ("CARGO_TERM_COLOR", "always".to_owned()),
        ("CARGO_TERM_PROGRESS_WHEN", "always".to_owned()),
        ("CARGO_TERM_PROGRESS_WIDTH", columns.to_string()),
    ] {
        if unless_set(name) {
            command.env(name, value);
        }
    }
}

fn find_component(messages: impl BufRead, package: &Package) -> Result<Option<PathBuf>> {
    let mut component = None;
    // Reads to the end in any case: cargo would block on a full pipe.
    for line in messages.lines() {
        let Ok(Finished { reason, package_id, filenames }) =
            serde_json::from_str(&line.context("cannot read cargo's messages")?)
        else {
            continue;
        };
        if reason == "compiler-artifact" && package_id == package.id {
            let wasm = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "wasm");
            component = filenames.into_iter().find(wasm).or(component);
        }
    }
    Ok(component)
}

fn cargo(directory: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(directory);
    command
}

fn not_run(program: &str, cause: &io::Error) -> anyhow::Error {
    match cause.kind() {
        io::ErrorKind::NotFound => anyhow!("`{program}` is not found; install Rust from https://rustup.rs"),
        _ => anyhow!("`{program}` cannot be run: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package() -> Package {
        Package {
            name: "a".into(),
            id: "path+file:///a#0.1.0".into(),
            manifest_path: PathBuf::new(),
            targets: Vec::new(),
        }
    }

    #[test]
    fn the_component_is_picked_out_of_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","package_id":"registry+x#b@1.0.0","filenames":["/t/libb.rlib"]}"#,
            "\n",
            r#"{"reason":"compiler-artifact","package_id":"path+file:///a#0.1.0","filenames":["/a.rlib","/a.wasm"]}"#,
            "\nwhat a build script printed\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        let found = find_component(messages.as_bytes(), &package()).unwrap();
        assert_eq!(found, Some(PathBuf::from("/a.wasm")));
        assert_eq!(find_component(&b""[..], &package()).unwrap(), None);
    }

    #[test]
    fn a_directory_without_a_crate_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let error = Package::find(directory.path()).err().unwrap().to_string();
        assert!(error.contains("Cargo.toml") && error.contains("bulkhead new"), "{error}");
    }
}
