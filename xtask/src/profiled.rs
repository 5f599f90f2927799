//! Profile-guided builds. A program is built so that it counts its branches, runs under a training load, and is built
//! again with those counts, which tell the compiler what to optimise.
//!
//!     target/profiled/<package>/counting        the counting build
//!     target/profiled/<package>/counts          written by its processes when they end; removed after merging
//!     target/profiled/<package>/<time>.profdata the merged profile, with the time of its creation
//!     target/profiled/<package>/optimised       the final build
//!
//! The profile has the time in its name because cargo compares compiler flags, but not the contents of files that they
//! name.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::{cargo, setup, stage};

/// A cfg for the host's code: without it, the confined child that compiles uploads could not write its counts.
const COUNTING: &str = "--cfg=profiling";
const ENCODED: &str = "CARGO_ENCODED_RUSTFLAGS";

/// A package of this workspace with one program of the same name.
pub(crate) struct Program {
    pub(crate) package: &'static str,
    pub(crate) features: &'static [&'static str],
}

/// Builds `program` and returns its path.
///
/// `train` gets the counting build and runs the training load. It is not called if the last profile is still valid. A
/// process writes its counts only if it ends by itself.
pub(crate) fn build(program: &Program, train: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let place = Place { program, directory: cargo::target_dir().join("profiled").join(program.package) };
    let target = setup::host_target()?;
    let merge = setup::llvm_profdata()?;
    let counts = place.directory.join("counts");
    let counting = place.build("counting", &target, &[&profile_flag("generate", &counts), COUNTING])?;
    let profile = match place.profile_since(modified(&counting)?)? {
        Some(profile) => profile,
        None => place.learn(&merge, &counts, || train(&counting))?,
    };
    place.build("optimised", &target, &[&profile_flag("use", &profile)])
}

fn profile_flag(what: &str, path: &Path) -> String {
    format!("-Cprofile-{what}={}", path.display())
}

/// The directory with all files of one program.
struct Place<'a> {
    program: &'a Program,
    directory: PathBuf,
}

impl Place<'_> {
    fn build(&self, what: &str, target: &str, flags: &[&str]) -> Result<PathBuf> {
        let Program { package, features } = self.program;
        stage::announce(&format!("building {package} for release, {what}"));
        let directory = self.directory.join(what);
        let mut cargo = cargo::cargo();
        // With an explicit target, cargo uses the flags for the program only, and not for build scripts and macros.
        cargo.args(["build", "--release", "--locked", "--package", package, "--target", target]);
        cargo.args(["--features", &features.join(",")]).arg("--target-dir").arg(&directory);
        cargo.env(ENCODED, beside_theirs(flags, |name| env::var(name).ok()));
        cargo::build(&mut cargo, package)?;
        Ok(directory.join(target).join("release").join(package))
    }

    /// Returns the profile if it is not older than the counting build.
    fn profile_since(&self, built: SystemTime) -> Result<Option<PathBuf>> {
        for profile in self.profiles()? {
            if modified(&profile)? >= built {
                return Ok(Some(profile));
            }
        }
        Ok(None)
    }

    fn learn(&self, merge: &Path, counts: &Path, train: impl FnOnce() -> Result<()>) -> Result<PathBuf> {
        let package = self.program.package;
        remove(counts)?;
        stage::announce(&format!("running the training load of {package}"));
        train().with_context(|| format!("the training load of {package} failed"))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (profile, unfinished) = (self.directory.join(format!("{now}.profdata")), self.directory.join("unfinished"));
        let merged = Command::new(merge).args(["merge", "--output"]).arg(&unfinished).arg(counts).status();
        if !merged.with_context(|| format!("cannot run {}", merge.display()))?.success() {
            bail!("llvm-profdata could not merge the counts of {package}; see its output above");
        }
        self.profiles()?.iter().try_for_each(|old| remove(old))?;
        remove(counts)?;
        fs::rename(&unfinished, &profile).with_context(|| format!("cannot write {}", profile.display()))?;
        Ok(profile)
    }

    fn profiles(&self) -> Result<Vec<PathBuf>> {
        let entries =
            fs::read_dir(&self.directory).with_context(|| format!("cannot read {}", self.directory.display()))?;
        let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|end| end == "profdata")).collect())
    }
}

/// Appends our flags to those that the user has set.
fn beside_theirs(ours: &[&str], variable: impl Fn(&str) -> Option<String>) -> String {
    let theirs = variable(ENCODED).filter(|flags| !flags.is_empty());
    let theirs = theirs.or_else(|| Some(variable("RUSTFLAGS")?.split_whitespace().collect::<Vec<_>>().join("\x1f")));
    theirs
        .iter()
        .map(String::as_str)
        .filter(|flags| !flags.is_empty())
        .chain(ours.iter().copied())
        .collect::<Vec<_>>()
        .join("\x1f")
}

fn modified(path: &Path) -> Result<SystemTime> {
    let modified = path.metadata().and_then(|metadata| metadata.modified());
    modified.with_context(|| format!("cannot read the metadata of {}", path.display()))
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_user_come_first_and_none_is_lost() {
        let flags = |set: &[(&str, &str)]| {
            let set: Vec<_> = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            beside_theirs(&["-Ca", "-Cb"], |name| {
                set.iter().find(|(set, _)| set == name).map(|(_, value)| value.clone())
            })
        };
        assert_eq!(flags(&[]), "-Ca\x1f-Cb");
        assert_eq!(flags(&[("RUSTFLAGS", " -Dwarnings  -g ")]), "-Dwarnings\x1f-g\x1f-Ca\x1f-Cb");
        // As in cargo, encoded flags replace all others.
        assert_eq!(flags(&[(ENCODED, "-C x"), ("RUSTFLAGS", "-g")]), "-C x\x1f-Ca\x1f-Cb");
        assert_eq!(flags(&[(ENCODED, ""), ("RUSTFLAGS", "-g")]), "-g\x1f-Ca\x1f-Cb");
    }

    #[test]
    fn a_profile_holds_until_its_program_is_built_anew_and_then_another_takes_its_place() {
        let directory = env::temp_dir().join(format!("bulkhead-profiled-{}", std::process::id()));
        let counts = directory.join("counts");
        let program = Program { package: "it", features: &[] };
        let place = Place { program: &program, directory: directory.clone() };
        fs::create_dir_all(&directory).unwrap();
        let long_ago = UNIX_EPOCH;
        assert_eq!(place.profile_since(long_ago).unwrap(), None);

        // `true` stands for the merging tool; its output file already exists.
        let train = || {
            fs::write(directory.join("unfinished"), "a profile")?;
            fs::create_dir_all(&counts)?;
            Ok(fs::write(counts.join("1.profraw"), "counts")?)
        };
        fs::write(directory.join("7.profdata"), "an old profile").unwrap();
        let profile = place.learn(Path::new("true"), &counts, train).unwrap();
        assert_eq!(place.profiles().unwrap(), std::slice::from_ref(&profile), "the old one is gone");
        assert!(!counts.exists());
        assert_eq!(place.profile_since(long_ago).unwrap(), Some(profile.clone()));
        let later = modified(&profile).unwrap() + std::time::Duration::from_secs(1);
        assert_eq!(place.profile_since(later).unwrap(), None);

        let failed = place.learn(Path::new("true"), &counts, || bail!("no answer")).unwrap_err();
        assert!(format!("{failed:#}").contains("the training load of it failed: no answer"), "{failed:#}");
        assert!(place.learn(Path::new("false"), &counts, || Ok(())).is_err());
        assert_eq!(place.profiles().unwrap(), [profile], "what fails leaves the profile that there is");
        fs::remove_dir_all(&directory).unwrap();
    }
}
