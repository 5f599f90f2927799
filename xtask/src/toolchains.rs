//! Builds guests with tool chains other than Rust's, each with the tool that authors use; see `tests/toolchains`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use bulkhead_artifacts::root;

use crate::setup::Python;
use crate::{cargo, stage};

/// Guests that need Node, each with the disabled features or the arguments of its tool.
const STARLINGMONKEY: [(&str, &[&str]); 2] =
    [("starlingmonkey", &["http", "fetch-event"]), ("starlingmonkey-http", &[])];
const QUICKJS: [(&str, &[&str]); 2] = [("quickjs", &["--sync"]), ("quickjs-async", &[])];
const PYTHON: &str = "python";

/// The guests that were built, and those that could not be.
pub(crate) struct Guests {
    /// The directory with a file NAME.wasm for each guest.
    pub(crate) directory: PathBuf,
    /// The names of the missing guests, each with the reason.
    pub(crate) missing: Vec<(String, String)>,
}

/// Builds every guest that is missing or whose sources have changed.
pub(crate) fn guests(python: &Python) -> Result<Guests> {
    let home = cargo::target_dir().join("toolchains");
    let mut guests = Guests { directory: home.join("guests"), missing: Vec::new() };
    fs::create_dir_all(&guests.directory).with_context(|| format!("cannot make {}", guests.directory.display()))?;
    let (wit, source) = (root().join("guest-sdk/wit"), tests().join("processor.mjs"));
    let node = node(&home);
    for (name, without) in STARLINGMONKEY {
        let script = home.join("starlingmonkey.mjs");
        let args = |output: &Path| {
            let mut command = Command::new("node");
            command.arg(&script).args([&source, &wit]).arg(output).args(without);
            command
        };
        guests.make(
            name,
            &node,
            &[&source, &tests().join("package-lock.json"), &tests().join("starlingmonkey.mjs")],
            args,
        );
    }
    for (name, further) in QUICKJS {
        let program = home.join("node_modules/.bin/componentize-qjs");
        let args = |output: &Path| {
            let mut command = Command::new(&program);
            command.arg("--wit").arg(&wit).args(["-n", "processor", "--js"]).arg(&source);
            command.args(further).arg("--output").arg(output);
            command
        };
        guests.make(name, &node, &[&source, &tests().join("package-lock.json")], args);
    }
    let (ready, program) = match python {
        Python::Ready(python) => (Ok(()), python.with_file_name("componentize-py")),
        Python::Missing(why) => (Err(why.clone()), PathBuf::new()),
    };
    let app = root().join("tests/python/guest");
    let args = |output: &Path| {
        let mut command = Command::new(&program);
        command.arg("--wit-path").arg(&wit).args(["--world", "processor", "componentize", "--python-path"]);
        command.arg(&app).args(["app", "--output"]).arg(output);
        command
    };
    guests.make(PYTHON, &ready, &[&app.join("app.py"), &root().join("tests/python/requirements.txt")], args);
    Ok(guests)
}

impl Guests {
    /// Builds a guest with the command that `command` returns, unless it was built from the same sources before.
    fn make(
        &mut self,
        name: &str,
        tool: &Result<(), String>,
        sources: &[&Path],
        command: impl FnOnce(&Path) -> Command,
    ) {
        if let Err(why) = tool.clone().and_then(|()| self.try_make(name, sources, command)) {
            self.missing.push((name.to_owned(), why));
        }
    }

    fn try_make(&self, name: &str, sources: &[&Path], command: impl FnOnce(&Path) -> Command) -> Result<(), String> {
        let (output, stamp) = (self.directory.join(format!("{name}.wasm")), self.directory.join(format!("{name}.of")));
        let wit = root().join("guest-sdk/wit/processor.wit");
        let mut wanted = Vec::new();
        for source in sources.iter().copied().chain([&*wit]) {
            wanted.extend(fs::read(source).map_err(|error| format!("{}: {error}", source.display()))?);
        }
        if output.is_file() && fs::read(&stamp).is_ok_and(|made_of| made_of == wanted) {
            return Ok(());
        }
        stage::announce(&format!("making a component: {name}"));
        let made = command(&output).stdin(Stdio::null()).output();
        let made = made.map_err(|error| format!("its tool cannot be run: {error}"))?;
        if !made.status.success() {
            return Err(format!("its tool failed: {}", String::from_utf8_lossy(&made.stderr).trim()));
        }
        // Written last, so that an interrupted build is repeated.
        fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))
    }
}

fn tests() -> PathBuf {
    root().join("tests/toolchains")
}

/// Installs exactly the Node packages of the lock file. The error is the reason why they are missing.
fn node(home: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    let wanted = fs::read(tests().join("package-lock.json")).map_err(failed)?;
    for file in ["package.json", "package-lock.json", "starlingmonkey.mjs"] {
        fs::copy(tests().join(file), home.join(file)).map_err(failed)?;
    }
    let stamp = home.join("installed.json");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    stage::announce("installing the tools for JavaScript components: npm ci");
    let installed = Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund", "--loglevel", "error"])
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    match installed {
        Ok(status) if status.success() => fs::write(&stamp, &wanted).map_err(failed),
        Ok(_) => Err("npm could not install the packages of tests/toolchains".to_owned()),
        Err(error) => Err(format!("there is no npm ({error})")),
    }
}
