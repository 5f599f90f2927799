//! Checks that the files under `src/proto` are the ones that prost generates from `proto/`.

use std::fs;
use std::path::Path;

/// Rewrites the files if run as `UPDATE=1 cargo test -p bulkhead-tensors --test generated`.
#[test]
fn the_generated_code_is_that_of_the_definitions() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let definitions = root.join("proto");
    let fresh = tempfile::tempdir().unwrap();
    let files = ["tensorflow.proto", "torch.proto", "onnx.proto"].map(|file| definitions.join(file));
    let described = protox::compile(files, [&definitions]).unwrap();
    // Maps sorted by key: equal requests have equal bytes on every machine.
    prost_build::Config::new().btree_map(["."]).out_dir(fresh.path()).compile_fds(described).unwrap();

    let mut seen = 0;
    for entry in fs::read_dir(fresh.path()).unwrap() {
        let entry = entry.unwrap();
        let checked_in = root.join("src/proto").join(entry.file_name());
        let made = fs::read_to_string(entry.path()).unwrap();
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&checked_in, &made).unwrap();
        }
        let present = fs::read_to_string(&checked_in).unwrap_or_default();
        assert!(present == made, "{} is not what proto/ says; run this with UPDATE=1", checked_in.display());
        seen += 1;
    }
    assert_eq!(seen, 3);
}
