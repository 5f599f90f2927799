//! Tests of gathering the files that a service file names.

use std::fs;
use std::io::Write;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::cli::mock::{Mock, Reply};
use crate::cli::screen::ScreenArgs;

const WASM: &[u8] = b"\0asm\x0d\0\x01\0";
const WASM_SHA256: &str = "24eaf3439a60c96764c4f2c92a0a81b52bd4fe5d5b91f090184a0f6486b1bf29";

fn screen() -> Screen {
    Screen::with(ScreenArgs::default(), Vec::new(), Vec::new())
}

/// A directory with these files; a name that ends in `/` makes a directory.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = directory.path().join(name);
        if name.ends_with('/') {
            fs::create_dir_all(path).unwrap();
            continue;
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    directory
}

fn gather(base: &TempDir, file: &Value) -> Result<Upload, String> {
    Upload::gather(file, base.path(), &screen()).map_err(|error| format!("{error:#}"))
}

fn refused(base: &TempDir, file: &Value) -> String {
    gather(base, file).expect_err("this should have been refused")
}

/// Zips a folder's worth of files.
fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn a_file_is_measured() {
    let base = folder(&[("echo.wasm", WASM)]);
    let upload = gather(&base, &json!({ "processor_path": "echo.wasm" })).unwrap();
    assert_eq!(upload.processor().unwrap().bytes(), 8);
    assert_eq!(upload.processor().unwrap().sha256(), WASM_SHA256);
    assert_eq!(upload.processor().unwrap().file(), Some(&*base.path().join("echo.wasm")));
    assert!(upload.model().is_empty() && upload.model_entry().is_none() && upload.warm_up().is_none());
}

#[test]
fn a_processor_is_the_only_wasm_file_or_the_named_one() {
    let base = folder(&[
        ("one/a.wasm", WASM),
        ("one/readme.txt", b"x"),
        ("two/a.wasm", WASM),
        ("two/v2/b.wasm", WASM),
        ("none/readme.txt", b"x"),
    ]);
    let processor =
        |path: &str, entry: Option<&str>| gather(&base, &json!({ "processor_path": path, "processor_entry": entry }));
    assert!(processor("one", None).is_ok());
    assert!(processor("two", Some("v2/b.wasm")).is_ok());
    assert!(processor("one/a.wasm", Some("a.wasm")).is_ok());

    let several = processor("two/", None).unwrap_err();
    assert!(several.contains("`a.wasm`, `v2/b.wasm`") && several.contains("processor_entry"), "{several}");
    let none = processor("none", None).unwrap_err();
    assert!(none.contains("no .wasm file") && none.contains("`readme.txt`"), "{none}");
    let wrong = processor("one", Some("b.wasm")).unwrap_err();
    assert!(wrong.contains("no `b.wasm`"), "{wrong}");
    assert!(processor("one", Some("../two/a.wasm")).unwrap_err().contains("`..`"));
}

#[test]
fn archives_are_unpacked_for_processors_and_models() {
    let zip = zipped(&[("build/echo.wasm", WASM), ("build/readme.txt", b"x")]);
    let model = zipped(&[("v1/a.onnx", b"a"), ("v1/b.txt", b"bb")]);
    let base = folder(&[("echo.zip", &zip), ("model.zip", &model), ("weights.npz", &model)]);
    let upload =
        gather(&base, &json!({ "processor_path": "echo.zip", "model_path": "model.zip", "model_entry": "v1" }))
            .unwrap();
    assert_eq!(upload.processor().unwrap().sha256(), WASM_SHA256);
    let paths: Vec<_> = upload.model().iter().map(ModelFile::path).collect();
    assert_eq!(paths, ["v1/a.onnx", "v1/b.txt"]);
    assert_eq!(fs::read(upload.model()[1].artifact().file().unwrap()).unwrap(), b"bb");

    // A processor could not use a packed model.
    let another = folder(&[("echo.wasm", WASM), ("model.tar.xz", b"x")]);
    let refused =
        gather(&another, &json!({ "processor_path": "echo.wasm", "model_path": "model.tar.xz" })).unwrap_err();
    assert!(refused.contains("accepted are .tar, .tar.gz, .tar.bz2 and .zip"), "{refused}");

    // A zip file whose name is not that of an archive stays packed.
    let upload = gather(&base, &json!({ "processor_path": "echo.zip", "model_path": "weights.npz" })).unwrap();
    assert_eq!(upload.model()[0].path(), "weights.npz");
}

#[test]
fn empty_directories_of_a_model_are_kept() {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in [("./", None), ("cache/", None), ("v1/a.onnx", Some(b"a")), ("v1/deep/er/", None)] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_entry_type(if content.is_some() { tar::EntryType::Regular } else { tar::EntryType::Directory });
        header.set_size(content.map_or(0, |content: &[u8; 1]| content.len() as u64));
        tar.append_data(&mut header, name, content.map_or(&b""[..], |content| content)).unwrap();
    }
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.add_directory("cache/", options).unwrap();
    zip.add_directory("__MACOSX/", options).unwrap();
    zip.add_directory("v1/deep/er", options).unwrap();
    zip.start_file("v1/a.onnx", options).unwrap();
    zip.write_all(b"a").unwrap();
    let (tar, zip) = (tar.into_inner().unwrap(), zip.finish().unwrap().into_inner());
    let files: [(&str, &[u8]); 4] =
        [("echo.wasm", WASM), ("model.tar", &tar), ("model.zip", &zip), ("dir/v1/a.onnx", b"a")];
    let base = folder(&files);
    for empty in ["dir/cache", "dir/v1/deep/er", "dir/__MACOSX"] {
        fs::create_dir_all(base.path().join(empty)).unwrap();
    }
    for model in ["model.tar", "model.zip", "dir"] {
        let upload = gather(&base, &json!({ "processor_path": "echo.wasm", "model_path": model })).unwrap();
        let empty: Vec<_> = upload.empty_directories().iter().map(|path| path.as_str()).collect();
        assert_eq!(empty, ["cache", "v1/deep/er"], "{model}");
        let body = json!(upload.body(json!({})));
        assert_eq!(body["model"][1], json!({ "path": "cache", "directory": true }), "{model}");
        assert_eq!(body["model"].as_array().unwrap().len(), 3);
    }
}

#[test]
fn what_was_unpacked_is_removed() {
    let base = folder(&[("echo.zip", &zipped(&[("echo.wasm", WASM)]))]);
    let upload = gather(&base, &json!({ "processor_path": "echo.zip" })).unwrap();
    let unpacked = upload.processor().unwrap().file().unwrap().to_owned();
    assert!(unpacked.is_file());
    drop(upload);
    assert!(!unpacked.exists());
}

#[test]
fn a_lone_model_file_is_its_own_entry() {
    let base = folder(&[
        ("a.wasm", WASM),
        ("digits.onnx", b"w"),
        ("model/x/only.bin", b"w"),
        ("many/a", b"1"),
        ("many/b", b"2"),
    ]);
    let entry = |model: &str, entry: Option<&str>| {
        let file = json!({ "processor_path": "a.wasm", "model_path": model, "model_entry": entry });
        gather(&base, &file).map(|upload| upload.model_entry().map(str::to_owned))
    };
    assert_eq!(entry("digits.onnx", None).unwrap().as_deref(), Some("digits.onnx"));
    assert_eq!(entry("model", None).unwrap().as_deref(), Some("x/only.bin"));
    assert_eq!(entry("many", None).unwrap(), None);
    assert_eq!(entry("many", Some("./b")).unwrap().as_deref(), Some("b"));
    for directory in ["x", "cache", "cache/inner"] {
        fs::create_dir_all(base.path().join("model/cache/inner")).unwrap();
        assert_eq!(entry("model", Some(directory)).unwrap().as_deref(), Some(directory), "the server takes it as well");
    }
    let wrong = entry("many", Some("c")).unwrap_err();
    assert!(wrong.contains("model_path") && wrong.contains("no `c`") && wrong.contains("`a`, `b`"), "{wrong}");
}

#[test]
fn only_the_named_file_of_a_folder_is_taken() {
    let base = folder(&[("a.wasm", WASM), ("model/wanted.onnx", b"w"), ("model/private.key", b"k")]);
    let upload = gather(&base, &json!({ "processor_path": "a.wasm", "model_path": "model/wanted.onnx" })).unwrap();
    assert_eq!(upload.model().len(), 1);
}

#[test]
fn the_body_is_what_the_admin_api_takes() {
    let base = folder(&[("a.wasm", WASM), ("m/x.bin", b"1"), ("m/y/z.bin", b"22"), ("warm.txt", b"[1]\n")]);
    let file = json!({ "name": "a", "processor_path": "a.wasm", "model_path": "m", "warm_up_data_path": "warm.txt" });
    let upload = gather(&base, &file).unwrap();
    let body = json!(upload.body(file.clone()));
    assert_eq!(body["spec"], file);
    assert_eq!(body["processor"], WASM_SHA256);
    assert_eq!(body["model"][1]["path"], "y/z.bin");
    assert_eq!(body["model"][1]["size"], 2);
    assert_eq!(body["warm_up"].as_str().unwrap().len(), 64);
    assert_eq!(upload.artifacts().len(), 4);
}

#[test]
fn a_change_tells_absent_from_removed() {
    let base = folder(&[("a.wasm", WASM)]);
    let change = |patch: Value| json!(Change::gather(&patch, base.path(), &screen()).unwrap().body(patch));
    assert_eq!(change(json!({ "token": "x" })), json!({ "spec": { "token": "x" } }));
    let body = change(json!({ "processor_path": "a.wasm", "model_path": null, "warm_up_data_path": null }));
    assert_eq!(body["processor"], WASM_SHA256);
    assert_eq!((&body["model"], &body["warm_up"]), (&json!([]), &Value::Null));
}

#[test]
fn what_is_not_wasm_is_called_what_it_is() {
    let base = folder(&[
        ("a.wat", b"(module)"),
        ("a.cwasm", b"\x7fELF\x02\x01\x01\0"),
        ("empty.wasm", b""),
        ("a.png", b"\x89PNG\r\n"),
    ]);
    for (path, word) in
        [("a.wat", "text"), ("a.cwasm", "machine code"), ("empty.wasm", "empty"), ("a.png", "not WebAssembly")]
    {
        let error = refused(&base, &json!({ "processor_path": path }));
        assert!(error.contains(word) && error.contains("processor_path") && error.contains(path), "{error}");
    }
}

#[test]
fn what_is_missing_is_named_with_its_key() {
    let base = folder(&[("a.wasm", WASM), ("empty/", b"")]);
    for (file, key) in [
        (json!({ "processor_path": "b.wasm" }), "processor_path"),
        (json!({ "processor_path": "a.wasm", "model_path": "gone" }), "model_path"),
        (json!({ "processor_path": "a.wasm", "model_path": "empty" }), "holds no files"),
        (json!({ "processor_path": "a.wasm", "warm_up_data_path": "empty" }), "is a directory"),
        (json!({ "processor_path": "oss://bucket/a.wasm" }), "`oss://`"),
    ] {
        let error = refused(&base, &file);
        assert!(error.contains(key), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn links_and_pipes_inside_a_folder_are_refused() {
    let base = folder(&[("a.wasm", WASM), ("model/a.bin", b"1"), ("piped/", b"")]);
    std::os::unix::fs::symlink("/etc/passwd", base.path().join("model/link")).unwrap();
    let error = refused(&base, &json!({ "processor_path": "a.wasm", "model_path": "model" }));
    assert!(error.contains("model/link") && error.contains("symbolic link"), "{error}");

    let socket = std::os::unix::net::UnixListener::bind(base.path().join("piped/socket")).unwrap();
    let error = refused(&base, &json!({ "processor_path": "a.wasm", "model_path": "piped" }));
    assert!(error.contains("neither a file nor a directory"), "{error}");
    drop(socket);

    // The path in the service file itself may be a link: its author has chosen it.
    std::os::unix::fs::symlink("a.wasm", base.path().join("latest.wasm")).unwrap();
    assert!(gather(&base, &json!({ "processor_path": "latest.wasm" })).is_ok());
}

#[test]
fn urls_are_fetched() {
    let mock = Mock::start(|request| match request.path.as_str() {
        "/a.wasm?sig=1" => Reply::new(200, "application/wasm", WASM),
        "/model.zip" => Reply::new(200, "application/zip", zipped(&[("a.onnx", b"w")])),
        _ => Reply::status(403),
    });
    let base = folder(&[]);
    let url = |path: &str| format!("{}{path}", mock.url);
    let upload =
        gather(&base, &json!({ "processor_path": url("/a.wasm?sig=1"), "model_path": url("/model.zip") })).unwrap();
    assert_eq!(upload.processor().unwrap().sha256(), WASM_SHA256);
    assert_eq!(upload.model_entry(), Some("a.onnx"));

    let error = refused(&base, &json!({ "processor_path": url("/b.wasm?sig=hidden") }));
    assert!(error.contains("403") && error.contains("/b.wasm") && !error.contains("hidden"), "{error}");
}
