//! Tests with hostile archives and with valid ones.

use std::io::Write;

use super::*;

const SMALL: u64 = 1024;

/// One tar entry, written without the checks of the writer, so that it can be invalid.
fn tar_entry(kind: tar::EntryType, name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    if kind.is_symlink() || kind.is_hard_link() {
        header.set_link_name("/etc/passwd").unwrap();
    }
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn tar_of(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    tar_entry(tar::EntryType::Regular, name, content)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zip_of(files: &[(&str, &[u8])], mode: u32) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(mode);
    for (name, content) in files {
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Unpacks with limits of 1 KiB and 4 entries, and returns the files on disk.
fn unpacked(bytes: &[u8], format: Format) -> Result<Vec<(String, Vec<u8>)>, ArchiveError> {
    let outer = tempfile::tempdir().unwrap();
    let target = outer.path().join("target");
    fs::create_dir(&target).unwrap();
    let mut archive = tempfile::tempfile().unwrap();
    archive.write_all(bytes).unwrap();
    Seek::rewind(&mut archive).unwrap();

    let result = unpack(archive, format, &target, &mut Budget::new(SMALL, 4));

    let beside = fs::read_dir(outer.path()).unwrap().count();
    assert_eq!(beside, 1, "something was written outside the target");
    Ok(result?.iter().map(|path| (path.to_string(), fs::read(path.below(&target)).unwrap())).collect())
}

#[test]
fn names_tell_the_format() {
    for (name, format) in [
        ("a.tar", Some(Format::Tar)),
        ("a.TAR.GZ", Some(Format::TarGz)),
        ("a.tgz", Some(Format::TarGz)),
        ("a.tar.bz2", Some(Format::TarBz2)),
        ("a.zip", Some(Format::Zip)),
        ("a.npz", None),
        ("a.gz", None),
        ("a.onnx", None),
    ] {
        assert_eq!(Format::of_name(name), format, "{name}");
        assert!(!Format::is_another(name), "{name}");
    }
    for name in ["a.tar.xz", "a.TXZ", "a.tar.zst", "a.tar.lz4", "a.7z", "a.rar"] {
        assert!(Format::is_another(name), "{name}");
    }
}

#[test]
fn honest_archives_come_out_whole() {
    let tar = tar_of(&[
        tar_entry(tar::EntryType::Directory, "v1/", b""),
        file("./v1/model.onnx", b"weights"),
        file("labels.txt", b"0\n1\n"),
    ]);
    let expected = [("v1/model.onnx".to_owned(), b"weights".to_vec()), ("labels.txt".to_owned(), b"0\n1\n".to_vec())];
    assert_eq!(unpacked(&tar, Format::Tar).unwrap(), expected);
    assert_eq!(unpacked(&gzip(&tar), Format::TarGz).unwrap(), expected);
    assert_eq!(unpacked(&bzip2(&tar), Format::TarBz2).unwrap(), expected);
    let zip = zip_of(&[("v1/model.onnx", b"weights"), ("labels.txt", b"0\n1\n")], 0o644);
    assert_eq!(unpacked(&zip, Format::Zip).unwrap(), expected);
}

#[test]
fn long_names_are_read() {
    let name = format!("{}/model.onnx", "directory".repeat(20));
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    builder.append_data(&mut header, &name, &b"x"[..]).unwrap();
    let tar = builder.into_inner().unwrap();
    assert_eq!(unpacked(&tar, Format::Tar).unwrap()[0].0, name);
}

#[test]
fn paths_that_lead_out_are_refused() {
    for name in ["../beside", "/tmp/absolute", "v1/../../beside", "a\\..\\b"] {
        let tar = tar_of(&[file(name, b"x")]);
        let error = unpacked(&tar, Format::Tar).unwrap_err();
        assert!(matches!(error, ArchiveError::Path(_)), "{name}: {error}");

        let zip = zip_of(&[(name, b"x")], 0o644);
        let error = unpacked(&zip, Format::Zip).unwrap_err();
        assert!(matches!(error, ArchiveError::Path(_)), "{name}: {error}");
    }
}

#[test]
fn links_and_devices_are_refused_by_name() {
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link] {
        let tar = tar_of(&[tar_entry(kind, "model.onnx", b"")]);
        let error = unpacked(&tar, Format::Tar).unwrap_err();
        assert!(matches!(&error, ArchiveError::Link(name) if name == "model.onnx"));
    }
    for kind in [tar::EntryType::Char, tar::EntryType::Fifo] {
        let tar = tar_of(&[tar_entry(kind, "model.onnx", b"")]);
        let error = unpacked(&tar, Format::Tar).unwrap_err();
        assert!(matches!(error, ArchiveError::Special(_)));
    }
    let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    writer.add_symlink("model.onnx", "/etc/passwd", options).unwrap();
    let zip = writer.finish().unwrap().into_inner();
    let error = unpacked(&zip, Format::Zip).unwrap_err();
    assert!(matches!(&error, ArchiveError::Link(name) if name == "model.onnx"));
}

#[test]
fn a_link_cannot_be_written_through() {
    let tar = tar_of(&[tar_entry(tar::EntryType::Symlink, "out", b""), file("out/x", b"x")]);
    let error = unpacked(&tar, Format::Tar).unwrap_err();
    assert!(matches!(error, ArchiveError::Link(_)));
}

#[test]
fn sizes_count_as_they_are_not_as_they_are_announced() {
    let bomb = vec![0; 64 * 1024];
    let tar = tar_of(&[file("zeros", &bomb)]);
    for (bytes, format) in
        [(gzip(&tar), Format::TarGz), (bzip2(&tar), Format::TarBz2), (zip_of(&[("zeros", &bomb)], 0o644), Format::Zip)]
    {
        assert!(bytes.len() < 1024, "{} bytes are no bomb", bytes.len());
        let error = unpacked(&bytes, format).unwrap_err();
        assert!(matches!(error, ArchiveError::TooMuch(TooMuch::Bytes(SMALL))), "{error}");
    }
}

#[test]
fn the_limit_is_for_all_files_together() {
    let half = vec![1; 600];
    let tar = tar_of(&[file("a", &half), file("b", &half)]);
    let error = unpacked(&tar, Format::Tar).unwrap_err();
    assert!(matches!(error, ArchiveError::TooMuch(TooMuch::Bytes(_))));
}

#[test]
fn empty_directories_are_not_free() {
    let directory = |name| tar_entry(tar::EntryType::Directory, name, b"");
    let tar = tar_of(&["a", "b", "c", "d", "e"].map(directory));
    let error = unpacked(&tar, Format::Tar).unwrap_err();
    assert!(matches!(error, ArchiveError::TooMuch(TooMuch::Entries(4))));
}

#[test]
fn the_same_path_twice_is_refused() {
    let tar = tar_of(&[file("a", b"1"), file("./a", b"2")]);
    let error = unpacked(&tar, Format::Tar).unwrap_err();
    assert!(matches!(&error, ArchiveError::Twice(name) if name == "a"));
    // The writer refuses to write a name twice, so a valid file is changed. The reader alone would take the second
    // entry.
    let zip = stored_zip_of(&[("a", b"1"), ("b", b"2"), ("d/", b"")]);
    let at = |entry: &[u8]| {
        zip.windows(47).rposition(|part| part.starts_with(b"PK\x01\x02") && part.ends_with(entry)).unwrap()
    };
    for (from, to) in [(b"b", b"a"), (b"a", b"b")] {
        let mut zip = zip.clone();
        let name = at(from) + 46;
        zip[name] = to[0];
        let error = unpacked(&zip, Format::Zip).unwrap_err();
        assert!(matches!(&error, ArchiveError::Twice(name) if name.as_bytes() == to), "{error}");
    }
    assert!(unpacked(&zip, Format::Zip).is_ok());
}

fn stored_zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in entries {
        match name.strip_suffix('/') {
            Some(name) => zip.add_directory(name, options).unwrap(),
            None => {
                zip.start_file(*name, options).unwrap();
                zip.write_all(content).unwrap();
            }
        }
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn a_file_that_is_a_directory_of_another_is_refused() {
    for (first, second, named) in [("a", "a/b", "a/b"), ("a/b", "a", "a"), ("a/b", "a/b/c", "a/b/c")] {
        for (bytes, format) in [
            (tar_of(&[file(first, b"1"), file(second, b"2")]), Format::Tar),
            (zip_of(&[(first, b"1"), (second, b"2")], 0o644), Format::Zip),
        ] {
            let error = unpacked(&bytes, format).unwrap_err();
            assert!(matches!(&error, ArchiveError::Clash(name) if name == named), "{first} {second}: {error}");
        }
    }
}

#[test]
fn a_directory_in_the_place_of_a_file_is_refused_as_what_it_is() {
    for directory in ["a/", "a/b/"] {
        let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file("a", options).unwrap();
        zip.add_directory(directory, options).unwrap();
        let zip = zip.finish().unwrap().into_inner();
        let tar = tar_of(&[file("a", b"1"), tar_entry(tar::EntryType::Directory, directory, b"")]);
        for (bytes, format) in [(tar, Format::Tar), (zip, Format::Zip)] {
            let error = unpacked(&bytes, format).unwrap_err();
            let named = directory.trim_end_matches('/');
            assert!(matches!(&error, ArchiveError::Clash(name) if name == named), "{directory} {format:?}: {error}");
        }
    }
    let twice = ["a/", "a/"].map(|name| tar_entry(tar::EntryType::Directory, name, b""));
    assert!(unpacked(&tar_of(&twice), Format::Tar).is_ok());
}

#[test]
fn what_breaks_off_is_refused() {
    let tar = tar_of(&[file("a", &[7; 700])]);
    for cut in [100, 600, 1000] {
        let error = unpacked(&tar[..cut], Format::Tar).unwrap_err();
        assert!(matches!(error, ArchiveError::Unreadable(_)), "tar at {cut}");
    }
    let gzip = gzip(&tar);
    let error = unpacked(&gzip[..gzip.len() - 12], Format::TarGz).unwrap_err();
    assert!(matches!(error, ArchiveError::Unreadable(_)));
    let zip = zip_of(&[("a", &[7; 700])], 0o644);
    let error = unpacked(&zip[..zip.len() - 12], Format::Zip).unwrap_err();
    assert!(matches!(error, ArchiveError::Unreadable(_)));
}

#[test]
fn other_bytes_are_no_archive() {
    for format in [Format::Tar, Format::TarGz, Format::TarBz2, Format::Zip] {
        let error = unpacked(b"\0asm\x0d\0\x01\0 and so on", format).unwrap_err();
        assert!(matches!(error, ArchiveError::Unreadable(_)), "{format:?}");
    }
}

#[test]
fn litter_is_left_out() {
    let tar = tar_of(&[file("a.wasm", b"1"), file("._a.wasm", b"2"), file("__MACOSX/x", b"3")]);
    assert_eq!(unpacked(&tar, Format::Tar).unwrap().len(), 1);
}
