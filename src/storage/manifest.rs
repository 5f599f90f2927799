//! The list of a model directory's files as a client sends it.

use std::collections::BTreeMap;

use super::model_path::{ACCEPTED, judge, names};
use super::record::{ListedFile, ModelFile};

/// Most mistakes that an error names.
const TOLD: usize = 8;
/// Most characters of a path that an error shows.
const SHOWN: usize = 120;

/// A list of files that fit into one directory: each path is that of one file, and no file is a directory of others.
#[derive(Clone, Debug)]
pub struct Manifest(Vec<ModelFile>);

impl Manifest {
    pub fn into_files(self) -> Vec<ModelFile> {
        self.0
    }
}

impl TryFrom<Vec<ListedFile>> for Manifest {
    type Error = String;

    fn try_from(listed: Vec<ListedFile>) -> Result<Self, Self::Error> {
        let paths: Vec<&str> = listed.iter().map(|file| file.path.as_str()).collect();
        let mut mistakes = bad_paths(&paths);
        mistakes.extend(clashes(&listed));
        if mistakes.is_empty() {
            return listed.into_iter().map(ListedFile::judged).collect::<Result<_, _>>().map(Self);
        }
        let more = mistakes.len().saturating_sub(TOLD);
        mistakes.truncate(TOLD);
        let more = if more > 0 { format!("; and {more} more mistakes") } else { String::new() };
        Err(format!(
            "{}{more}; accepted are {ACCEPTED}; each file once, and no file inside another",
            mistakes.join("; ")
        ))
    }
}

fn bad_paths(paths: &[&str]) -> Vec<String> {
    let told = |(index, path): (usize, &&str)| judge(path).err().map(|why| format!("{} {why}", entry(index, path)));
    paths.iter().enumerate().filter_map(told).collect()
}

/// Finds entries with the same path, and files that other entries use as a directory.
fn clashes(listed: &[ListedFile]) -> Vec<String> {
    let mut mistakes = Vec::new();
    let mut files: BTreeMap<Vec<&str>, usize> = BTreeMap::new();
    let told = |index: usize| entry(index, &listed[index].path);
    for (index, file) in listed.iter().enumerate() {
        let names: Vec<&str> = names(&file.path).collect();
        if names.is_empty() {
            continue;
        }
        match files.get(&names) {
            Some(first) => mistakes.push(format!("{} and {} are the same file", told(*first), told(index))),
            None => drop(files.insert(names, index)),
        }
    }
    // In this order, the contents of a directory come directly after it.
    let mut open: Option<(&Vec<&str>, usize)> = None;
    for (names, index) in &files {
        match open {
            Some((outer, at)) if names.starts_with(outer) => {
                mistakes.push(format!("{} is a file, and {} would lie in it", told(at), told(*index)));
            }
            _ if listed[*index].directory => {}
            _ => open = Some((names, *index)),
        }
    }
    mistakes
}

fn entry(index: usize, path: &str) -> String {
    let mut shown: String = path.chars().take(SHOWN).collect();
    if shown.len() < path.len() {
        shown.push('…');
    }
    format!("model[{index}] {shown:?}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(list: serde_json::Value) -> Result<Manifest, String> {
        serde_json::from_value::<Vec<ListedFile>>(list).unwrap().try_into()
    }

    fn judged(paths: &[&str]) -> Result<usize, String> {
        let sha256 = "ab".repeat(32);
        let list: Vec<_> = paths.iter().map(|path| json!({"path": path, "sha256": sha256, "size": 1})).collect();
        Ok(read(list.into())?.into_files().len())
    }

    #[test]
    fn a_list_of_one_directory_is_accepted() {
        assert_eq!(judged(&[]), Ok(0));
        assert_eq!(judged(&["a", "A", "b/a", "b/c/a", "a.b", "b.a/x", "b c"]), Ok(7));
    }

    #[test]
    fn a_directory_may_hold_what_a_file_may_not() {
        let sha256 = "ab".repeat(32);
        let judged = |directory: &str, path: &str| {
            let file = json!({"path": path, "sha256": sha256, "size": 1});
            let list = json!([{"path": directory, "directory": true}, file]);
            read(list).map(Manifest::into_files)
        };
        let files = judged("logs", "m").unwrap();
        assert!(files[0].directory && !files[1].directory);
        assert!(judged("a", "a/b").is_ok());
        for (directory, path, said) in [
            ("a", "a", "are the same file"),
            ("a/b", "a", "model[1] \"a\" is a file, and model[0] \"a/b\" would lie in it"),
            ("a/", "b", "ends with a slash"),
        ] {
            let error = judged(directory, path).unwrap_err();
            assert!(error.contains(said), "{directory} {path}: {error}");
        }
        let error = read(json!([{"path": "a", "size": 1}])).unwrap_err();
        assert!(error.contains("has no `sha256`"), "{error}");
    }

    #[test]
    fn entries_that_cannot_lie_in_one_directory_are_named_both() {
        for (paths, said) in [
            (&["m", "m"][..], &["model[0] \"m\" and model[1] \"m\" are the same file"][..]),
            (&["a/b", "a//b"], &["model[0] \"a/b\" and model[1] \"a//b\" are the same file", "two slashes"]),
            (&["a/b", "./a/b"], &["model[0] \"a/b\" and model[1] \"./a/b\""]),
            (&["a", "x", "a/b"], &["model[0] \"a\" is a file, and model[2] \"a/b\" would lie in it"]),
            (&["a/b/c", "a!", "a"], &["model[2] \"a\" is a file, and model[0] \"a/b/c\" would lie in it"]),
            (&["a", "a/"], &["model[0] \"a\" and model[1] \"a/\"", "ends with a slash"]),
        ] {
            let error = judged(paths).unwrap_err();
            assert!(said.iter().all(|said| error.contains(said)), "{paths:?}: {error}");
        }
    }

    #[test]
    fn every_mistake_is_named_up_to_a_bound() {
        let error = judged(&["", "..", "a\0"]).unwrap_err();
        for said in ["model[0] \"\" is empty", "model[1] \"..\"", "model[2] \"a\\0\"", "accepted are"] {
            assert!(error.contains(said), "{error}");
        }
        let many = vec!["x".repeat(5000); 1000];
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let error = judged(&many).unwrap_err();
        assert!(error.len() < 4000 && error.contains("more mistakes"), "{} bytes", error.len());
    }
}
