//! The crates for other people's projects, as their packages show them.

use std::fs;
use std::path::Path;
use std::process::Command;

use bulkhead_artifacts::root;
use serde_json::Value;

/// A crate, its directory, and files that its package must have besides those of every package.
const CRATES: [(&str, &str, &[&str]); 3] = [
    (
        "bulkhead-guest",
        "guest-sdk",
        &["src/front_page.md", "wit/batch-processor.wit", "wit/job-processor.wit", "wit/processor.wit"],
    ),
    ("bulkhead-client", "client", &["examples/predict.rs"]),
    ("bulkhead-tensors", "tensors", &["proto/onnx.proto", "proto/tensorflow.proto", "proto/torch.proto"]),
];
const EVERY: [&str; 4] = ["Cargo.toml", "LICENSE", "README.md", "src/lib.rs"];
/// The largest file and the largest sum of files in a package, in bytes.
const MOST: (u64, u64) = (32 << 10, 256 << 10);

/// The largest file that the package of the host may have, in bytes.
const MOST_OF_HOST: u64 = 512 << 10;

fn cargo(args: &[&str]) -> String {
    let output = Command::new("cargo").args(args).current_dir(root()).output().expect("cargo");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the files of a package with their sizes. Files that cargo adds have no size.
fn package(name: &str, directory: &Path) -> Vec<(String, Option<u64>)> {
    let list = cargo(&["package", "--list", "--offline", "--allow-dirty", "--package", name]);
    let sized = |file: &str| (file.to_owned(), fs::metadata(directory.join(file)).ok().map(|file| file.len()));
    list.lines().map(sized).collect()
}

#[test]
fn a_package_has_the_files_that_its_users_need_and_no_large_ones() {
    for (name, directory, needed) in CRATES {
        let directory = root().join(directory);
        let files = package(name, &directory);
        for needed in EVERY.iter().chain(needed) {
            assert!(files.iter().any(|(file, _)| file == needed), "{name} lacks {needed}: {files:?}");
        }
        assert_eq!(read(&directory.join("LICENSE")), read(&root().join("LICENSE")));
        let sizes: Vec<u64> = files.iter().filter_map(|(_, size)| *size).collect();
        assert!(sizes.iter().all(|size| *size <= MOST.0) && sizes.iter().sum::<u64>() <= MOST.1, "{name}: {files:?}");
    }
    let files = package("bulkhead", &root());
    assert!(files.iter().all(|(file, size)| !file.contains("target/") && *size <= Some(MOST_OF_HOST)), "{files:?}");
}

#[test]
fn a_readme_says_what_the_manifest_says() {
    let metadata = cargo(&["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    for (name, directory, _) in CRATES {
        let manifest = packages.iter().find(|package| package["name"] == name).expect(name);
        let text = |key: &str| manifest[key].as_str().unwrap_or_else(|| panic!("{name} has no {key}"));
        let readme = read(&root().join(directory).join(text("readme")));
        assert!(readme.contains(text("license")) && readme.contains(text("documentation")), "{name}");
        assert!(readme.contains(&format!("Rust {} or newer", text("rust_version"))), "{name}");
        assert!(readme.starts_with(&format!("# {name}\n\n{}", text("description"))), "{name}: {}", text("description"));
        for feature in manifest["features"].as_object().expect("features").keys().filter(|key| *key != "default") {
            assert!(readme.contains(&format!("| `{feature}` |")), "{name}: {feature}");
        }
        let version = text("version").rsplit_once('.').expect("a version").0;
        let shown = readme.lines().filter(|line| line.starts_with(&format!("{name} = ")));
        assert!(shown.into_iter().all(|line| line.ends_with(&format!("\"{version}\""))), "{name} {version}");
        for list in ["keywords", "categories"] {
            assert!(manifest[list].as_array().is_some_and(|list| (1..=5).contains(&list.len())), "{name}: {list}");
        }
    }
}

/// Both are the same program, word for word.
#[test]
fn the_front_page_of_the_sdk_shows_the_echo_example() {
    let page = read(&root().join("guest-sdk/src/front_page.md"));
    let example = read(&root().join("examples/echo/src/lib.rs"));
    let (_, shown) = page.split_once("```\n").unwrap();
    let (shown, _) = shown.split_once("```\n").unwrap();
    let (_, code) = example.split_once("\n\n").unwrap();
    let (code, _) = code.split_once("\n#[cfg(test)]").unwrap();
    assert_eq!(shown, code, "src/front_page.md differs from examples/echo/src/lib.rs");
}
