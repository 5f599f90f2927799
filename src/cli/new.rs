//! The command `new`: makes a processor project. The SDK's sources are part of this program and are copied into the
//! project, so that it builds anywhere.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;

use super::failure::{Exit, Failure};
use super::screen::Screen;
use crate::config::ServiceName;

#[derive(Args, Debug)]
#[command(after_help = "\
The last part of the path becomes the name of the crate and of the service.

Examples:
  bulkhead new word-count && cd word-count && bulkhead build && bulkhead test word-count.json -d 'one two'")]
pub(super) struct NewArgs {
    /// The directory to make; it must be new or empty
    directory: PathBuf,
}

/// The files of a project. `{{name}}` stands for the project's name, in paths and in contents.
const PROJECT: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("template/manifest.toml")),
    (".cargo/config.toml", include_str!("template/config.toml")),
    (".gitignore", include_str!("template/gitignore")),
    ("README.md", include_str!("template/README.md")),
    ("src/lib.rs", include_str!("template/processor.rs")),
    ("{{name}}.json", include_str!("template/service.json")),
];

macro_rules! sdk {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../guest-sdk/", $path)))),*]
    };
}

/// The files of the SDK, copied unchanged to `bulkhead-guest/`. A test compares this list with the directory.
const SDK: &[(&str, &str)] = sdk![
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "src/bindings.rs",
    "src/call.rs",
    "src/component.rs",
    "src/error.rs",
    "src/events.rs",
    "src/export.rs",
    "src/front_page.md",
    "src/job.rs",
    "src/level.rs",
    "src/lib.rs",
    "src/log_lines.rs",
    "src/model.rs",
    "src/preopens.rs",
    "src/processor.rs",
    "src/request.rs",
    "src/response.rs",
    "src/simulated.rs",
    "src/simulated_caller.rs",
    "src/stream.rs",
    "src/tracing_events.rs",
    "wit/batch-processor.wit",
    "wit/job-processor.wit",
    "wit/processor.wit",
    "wit/streaming-processor.wit",
];

/// Names that cargo accepts for a package, but under which the crate could not be compiled.
const RESERVED: &str = "\
    abstract as async await become box break const continue core crate do dyn else enum extern false final fn \
    for gen if impl in let loop macro match mod move mut override priv proc_macro pub ref return self static std \
    struct super test trait true try type typeof unsafe unsized use virtual where while yield alloc \
    bulkhead-guest bulkhead_guest";

pub(super) fn new(args: &NewArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let directory = &args.directory;
    let name = name_of(directory).map_err(|error| Failure::Usage(format!("{error:#}")))?;
    write_project(directory, &name)?;
    let shown = directory.display();
    if screen.is_json() {
        screen.json(&json!({ "name": name, "directory": directory }))?;
    } else {
        screen.line(format_args!(
            "made `{shown}`: a processor, its tests, its service file, and the SDK it builds with\n\n\
             next:\n  cd {shown}\n  cargo test\n  bulkhead build\n  bulkhead test {name}.json -d 'one two three'\n  \
             bulkhead create {name}.json    (with `bulkhead serve` running)"
        ))?;
    }
    Ok(Exit::Ok)
}

/// The name of the project, which is valid for a crate, a service and a file.
fn name_of(directory: &Path) -> Result<String> {
    let Some(name) = directory.file_name() else {
        bail!("`{}` ends without a name for the project", directory.display());
    };
    let Some(name) = name.to_str().and_then(|name| ServiceName::parse(name).ok()) else {
        bail!("`{}` is no name for a service: accepted are {}", name.display(), ServiceName::ACCEPTED);
    };
    if !name.as_str().starts_with(|first: char| first.is_ascii_lowercase()) {
        bail!("`{name}` is no name for a crate: it must begin with a letter");
    }
    if RESERVED.split(' ').any(|word| word == name.as_str()) {
        bail!("`{name}` is a reserved name in Rust; choose another one");
    }
    Ok(name.as_str().to_owned())
}

fn write_project(directory: &Path, name: &str) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make `{}`", directory.display()))?;
    let mut present = fs::read_dir(directory).with_context(|| format!("cannot read `{}`", directory.display()))?;
    if present.next().is_some() {
        bail!("`{}` is not empty; nothing was written", directory.display());
    }
    for (path, content) in PROJECT {
        let fill = |text: &str| text.replace("{{name}}", name);
        write(&directory.join(fill(path)), &fill(content))?;
    }
    let sdk = directory.join("bulkhead-guest");
    SDK.iter().try_for_each(|(path, content)| write(&sdk.join(path), content))
}

fn write(path: &Path, content: &str) -> Result<()> {
    let attempt = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        File::create_new(path)?.write_all(content.as_bytes())
    };
    attempt().with_context(|| format!("cannot write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::process::Command;

    use super::*;
    use crate::config::ServiceFile;

    #[test]
    fn every_file_of_the_sdk_travels() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest-sdk");
        let mut present = BTreeSet::from(["Cargo.toml", "LICENSE", "README.md"].map(str::to_owned));
        for folder in ["src", "wit"] {
            for entry in fs::read_dir(root.join(folder)).unwrap() {
                let entry = entry.unwrap();
                assert!(entry.file_type().unwrap().is_file(), "{} is not a file", entry.path().display());
                present.insert(format!("{folder}/{}", entry.file_name().to_str().unwrap()));
            }
        }
        let listed: BTreeSet<_> = SDK.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(listed, present);
    }

    #[test]
    fn the_sdk_needs_no_workspace() {
        let (_, manifest) = SDK.iter().find(|(path, _)| *path == "Cargo.toml").unwrap();
        assert!(!manifest.contains("workspace = true") && !manifest.contains("path = \".."));
    }

    #[test]
    fn a_project_is_named_throughout() {
        let outer = tempfile::tempdir().unwrap();
        let directory = outer.path().join("deep/word-count");
        write_project(&directory, &name_of(&directory).unwrap()).unwrap();

        let text = |path: &str| fs::read_to_string(directory.join(path)).unwrap();
        for (path, _) in PROJECT {
            assert!(!text(&path.replace("{{name}}", "word-count")).contains("{{"), "{path}");
        }
        assert!(text("Cargo.toml").contains("name = \"word-count\""));
        let file = ServiceFile::parse(&text("word-count.json")).unwrap();
        assert_eq!(file.spec().name().as_str(), "word-count");
        assert!(file.ignored().is_empty());
        assert!(directory.join("bulkhead-guest/wit/processor.wit").is_file());
    }

    /// Natively the SDK has no dependencies, so the test needs only the compiler, not cargo or a registry.
    #[test]
    fn a_project_passes_its_own_tests() {
        let directory = tempfile::tempdir().unwrap();
        write_project(directory.path(), "word-count").unwrap();
        let rustc = |args: &[&str]| {
            let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
            let output = Command::new(rustc)
                .args(["--edition", "2024", "--deny", "warnings"])
                .args(args)
                .current_dir(&directory)
                .output();
            let output = output.unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        rustc(&["--crate-type", "rlib", "--crate-name", "bulkhead_guest", "bulkhead-guest/src/lib.rs"]);
        rustc(&[
            "--test",
            "src/lib.rs",
            "--crate-name",
            "word_count",
            "--extern",
            "bulkhead_guest=libbulkhead_guest.rlib",
        ]);
        let tests = Command::new(directory.path().join("word_count")).output().unwrap();
        let printed = String::from_utf8_lossy(&tests.stdout);
        assert!(tests.status.success() && printed.contains("3 passed"), "{printed}");
    }

    #[test]
    fn what_is_there_stays() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("thesis.txt"), "years of work").unwrap();
        let error = write_project(directory.path(), "thesis").unwrap_err();
        assert!(error.to_string().contains("is not empty"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_are_good_for_crate_and_service() {
        for good in ["echo", "./word-count", "/tmp/a1_b"] {
            assert!(name_of(Path::new(good)).is_ok(), "{good}");
        }
        for bad in ["..", "/", "Echo", "1st", "fn", "std", "a.b", "bulkhead-guest", "ümlaut"] {
            assert!(name_of(Path::new(bad)).is_err(), "{bad}");
        }
    }
}
