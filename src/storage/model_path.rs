//! The rules for paths of model files, shared by the server and the command line.

/// Most bytes of a name, as in most file systems.
const LONGEST_NAME: usize = 255;
/// Most bytes of a path. With the data directory before it, a path stays below the kernel's 4096.
const LONGEST_PATH: usize = 1024;
/// Most names in a path: programs that walk a tree keep a directory open for each.
const MOST_NAMES: usize = 64;

/// The accepted paths in words, for messages.
pub(super) const ACCEPTED: &str = "names separated by single slashes, at most 64 of them, each of 1 to 255 bytes and all \
    together at most 1024, without `.`, `..`, backslashes, control characters and U+FFFD";

/// Checks the path of a model file, relative to the model directory.
///
/// # Errors
/// The fault, as the end of a sentence that begins with the path.
pub(crate) fn judge(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("is empty");
    }
    if path.starts_with('/') {
        return Err("is absolute: it begins with a slash");
    }
    if path.ends_with('/') {
        return Err("names a directory: it ends with a slash");
    }
    // Other systems separate directories with a backslash; U+FFFD replaces bytes that were not UTF-8.
    if path.contains('\\') {
        return Err("has a backslash");
    }
    if path.chars().any(char::is_control) {
        return Err("has a control character");
    }
    if path.contains('\u{fffd}') {
        return Err("has U+FFFD, which stands for bytes that are not UTF-8");
    }
    if path.len() > LONGEST_PATH {
        return Err("is longer than 1024 bytes");
    }
    for name in path.split('/') {
        match name {
            "" => return Err("has two slashes in a row"),
            "." => return Err("has the name `.` in it"),
            ".." => return Err("leads out of the directory with `..`"),
            _ if name.len() > LONGEST_NAME => return Err("has a name of more than 255 bytes"),
            _ => {}
        }
    }
    if path.split('/').count() > MOST_NAMES { Err("has more than 64 names") } else { Ok(()) }
}

/// The names of a path, without empty ones and `.`: paths with the same names are one file.
pub(super) fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !matches!(*name, "" | "."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_are_accepted() {
        let longest = format!("{}/x", ["n".repeat(255), "n".repeat(255), "n".repeat(255), "n".repeat(254)].join("/"));
        let deepest = ["d"; 64].join("/");
        for fine in ["a", "a/b.onnx", "a b/ü", "..a/b..", ".hidden", "…", "A/a", "日本/モデル.bin", &longest, &deepest]
        {
            assert_eq!(judge(fine), Ok(()), "{fine}");
        }
        assert_eq!(longest.len(), 1024);
    }

    #[test]
    fn what_names_no_file_inside_is_refused() {
        for (bad, why) in [
            ("", "empty"),
            ("/a", "absolute"),
            ("//a", "absolute"),
            ("a/", "ends with a slash"),
            ("/", "absolute"),
            ("a//b", "two slashes"),
            ("./a", "`.`"),
            ("a/./b", "`.`"),
            (".", "`.`"),
            ("../a", "`..`"),
            ("a/../b", "`..`"),
            ("a\0b", "control"),
            ("a\nb", "control"),
            ("a\u{7f}", "control"),
            ("a\u{85}", "control"),
            ("a\\..\\b", "backslash"),
            ("a\u{fffd}", "UTF-8"),
            (&"n".repeat(256), "255"),
            (&["n"; 513].join("/"), "1024"),
            (&["n"; 65].join("/"), "64"),
        ] {
            assert!(judge(bad).is_err_and(|said| said.contains(why)), "{bad:?}: {:?}", judge(bad));
        }
    }
}
