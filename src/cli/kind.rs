//! Recognises binary files that were given in place of a JSON file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::failure::Failure;

/// Bytes at the start of a file that identify its kind. The mark of a tar archive comes after the name of its first
/// file.
const HEAD: usize = 512;
/// Characters of a line that a message shows.
const LINE: usize = 40;
/// Most bytes that are read; no settings file is nearly as large.
const MAX_BYTES: u64 = 16 << 20;

/// Reads a JSON file as text. `role` is the name of the expected file, such as `the service file`.
///
/// # Errors
/// If the file cannot be read, or is of another kind; the error names the kind and the file to pass instead.
pub(super) fn read_text(path: &Path, role: &str) -> Result<String, Failure> {
    let shown = path.display();
    let cannot = |error| Failure::Failed(anyhow::Error::new(error).context(format!("cannot read {role} `{shown}`")));
    if path.is_dir() {
        return Err(Failure::Usage(format!("`{shown}` is a directory: pass {role} itself, a file of JSON")));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes)).map_err(cannot)?;
    if let Some(what) = kind(&bytes[..bytes.len().min(HEAD)], path) {
        return Err(Failure::Usage(format!("`{shown}` is {what}: {}", instead(role))));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::Usage(format!("`{shown}` is not text: byte {at} is not UTF-8; {role} is a file of JSON"))
    })?;
    match other_text(&text) {
        Some(what) => Err(Failure::Usage(format!("`{shown}` {what}; {role} is a file of JSON, as {{\"name\": …}}"))),
        None => Ok(text),
    }
}

/// Describes a text by its beginning; `None` if it begins as a JSON object or list, as every settings file does.
fn other_text(text: &str) -> Option<String> {
    let first = text.trim_start_matches('\u{feff}').lines().map(str::trim).find(|line| !line.is_empty());
    let Some(first) = first else { return Some("is empty".to_owned()) };
    if first.starts_with(['{', '[']) {
        return None;
    }
    let key = |(key, value): (&str, &str)| !key.contains(['"', ' ']) && (value.is_empty() || value.starts_with(' '));
    let is_yaml = first.starts_with("---") || first.starts_with("- ") || first.split_once(':').is_some_and(key);
    let what = if is_yaml { "is YAML: it" } else { "is not JSON: it" };
    let shown: String = first.chars().take(LINE).collect();
    Some(format!("{what} begins with `{shown}`"))
}

fn instead(role: &str) -> String {
    match role {
        SERVICE_FILE => {
            "pass its service file, which names it; `bulkhead new NAME` makes a project with one".to_owned()
        }
        role => format!("pass {role}, a file of JSON"),
    }
}

pub(super) const SERVICE_FILE: &str = "the service file";

/// The kind of a binary file, for the kinds that users have at hand.
fn kind(head: &[u8], path: &Path) -> Option<&'static str> {
    let is_onnx = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"));
    match head {
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Some("a component"),
        [0, b'a', b's', b'm', ..] => Some("a core WebAssembly module"),
        [b'P', b'K', 3 | 5, 4 | 6, ..] => Some("a zip archive"),
        [0x1f, 0x8b, ..] => Some("a gzip archive"),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some("a bzip2 archive"),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some("an xz archive"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("a zstd archive"),
        [0x7f, b'E', b'L', b'F', ..] => Some("a program of this machine"),
        _ if head.get(257..262) == Some(b"ustar") => Some("a tar archive"),
        // The format has no magic number: a model begins with its version field.
        [8, _, ..] if is_onnx => Some("an ONNX model"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, bytes: &[u8]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let failure = read_text(&path, SERVICE_FILE).unwrap_err();
        assert!(matches!(failure, Failure::Usage(_)), "{failure}");
        failure.to_string()
    }

    #[test]
    fn what_is_no_service_file_is_called_by_its_name() {
        let mut tar = [0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        for (name, bytes, what) in [
            ("scorer.wasm", &b"\0asm\x0d\0\x01\0"[..], "is a component: pass its service file"),
            ("scorer.wasm", b"\0asm\x01\0\0\0", "is a core WebAssembly module: pass its service file"),
            ("model.zip", b"PK\x03\x04", "is a zip archive"),
            ("model.tar.gz", b"\x1f\x8b\x08", "is a gzip archive"),
            ("model.tar", &tar, "is a tar archive"),
            ("digits.onnx", b"\x08\x08\x12", "is an ONNX model"),
            ("scorer", b"\x7fELF", "is a program of this machine"),
        ] {
            let said = refused(name, bytes);
            assert!(said.contains(what) && said.contains("bulkhead new"), "{said}");
        }
        assert!(refused("latin1.json", b"{\"name\": \"\xe9\"}").contains("byte 10 is not UTF-8"));
    }

    #[test]
    fn a_text_that_is_no_json_is_shown_by_its_beginning() {
        for (text, what) in [
            ("name: echo\nprocessor_path: echo.wasm\n", "s` is YAML: it begins with `name: echo`; the service file is"),
            ("\n---\nname: echo", "is YAML: it begins with `---`"),
            ("<service/>", "is not JSON: it begins with `<service/>`"),
            ("name = \"echo\"", "is not JSON: it begins with `name = \"echo\"`"),
            (" \n", "is empty; the service file is a file of JSON"),
        ] {
            let said = refused("s", text.as_bytes());
            assert!(said.contains(what), "{said}");
        }
        assert_eq!(other_text("\n {}"), None);
        assert_eq!(other_text("[]"), None);
    }

    #[test]
    fn a_directory_is_no_file_and_a_missing_one_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let said = read_text(directory.path(), SERVICE_FILE).unwrap_err().to_string();
        assert!(said.contains("is a directory: pass the service file itself"), "{said}");
        let missing = read_text(&directory.path().join("none.json"), "the gateway's file").unwrap_err();
        assert!(matches!(missing, Failure::Failed(_)));
        assert!(missing.to_string().contains("cannot read the gateway's file"), "{missing}");
    }
}
