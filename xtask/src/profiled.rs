//! Profile-guided builds: a program is built so that it counts which ways it takes, is put through what it is made for,
//! and is built again with those counts, which tell the compiler what to make fast.
//!
//!     target/profiled/<package>/counting        the build that counts
//!     target/profiled/<package>/counts          what its processes wrote when they ended; gone once it is merged
//!     target/profiled/<package>/<time>.profdata the profile, of the time in its name
//!     target/profiled/<package>/optimised       the build that is used
//!
//! The profile has the time in its name because cargo looks at compiler flags and not into the files they name.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::{cargo, setup, stage};

/// Told to the code, whose compiling child otherwise could not write what it counted.
const COUNTING: &str = "--cfg=profiling";
const ENCODED: &str = "CARGO_ENCODED_RUSTFLAGS";

/// A package of this workspace with one program of the same name.
pub(crate) struct Program {
    pub(crate) package: &'static str,
    pub(crate) features: &'static [&'static str],
}

/// Builds `program`, and says where it is.
///
/// `train` is given the counting build, unless what it counted earlier still holds. A process counts for nothing unless it
/// ends by itself.
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

/// Where everything of one program lies.
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
        // With a target named, the flags are for the program alone and not for build scripts and macros.
        cargo.args(["build", "--release", "--locked", "--package", package, "--target", target]);
        cargo.args(["--features", &features.join(",")]).arg("--target-dir").arg(&directory);
        cargo.env(ENCODED, beside_theirs(flags, |name| env::var(name).ok()));
        cargo::build(&mut cargo, package)?;
        Ok(directory.join(target).join("release").join(package))
    }

    /// The profile, if it is not older than the program it tells of.
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
        stage::announce(&format!("putting {package} through its work, counting"));
        train().with_context(|| format!("{package} cannot be put through its work"))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (profile, unfinished) = (self.directory.join(format!("{now}.profdata")), self.directory.join("unfinished"));
        let merged = Command::new(merge).args(["merge", "--output"]).arg(&unfinished).arg(counts).status();
        if !merged.with_context(|| format!("cannot run {}", merge.display()))?.success() {
            bail!("llvm-profdata could not merge what {package} counted; it says why above");
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

/// Flags for cargo that begin with those the user has set.
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
    modified.with_context(|| format!("cannot look at {}", path.display()))
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
        // As for cargo, the encoded ones are the only ones that count.
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

        // `true` stands for the tool that merges, and what it would write is there already.
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
        assert!(format!("{failed:#}").contains("it cannot be put through its work: no answer"), "{failed:#}");
        assert!(place.learn(Path::new("false"), &counts, || Ok(())).is_err());
        assert_eq!(place.profiles().unwrap(), [profile], "what fails leaves the profile that there is");
        fs::remove_dir_all(&directory).unwrap();
    }
}
