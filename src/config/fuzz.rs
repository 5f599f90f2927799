//! Checks that every text must pass when it is given as a service file. See [`crate::fuzz`].

use super::ServiceFile;

/// Checks that the file is either refused with a reason, or stays the same when it is stored and read again.
pub fn service_file(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match ServiceFile::parse(&text) {
        Ok(file) => {
            let kept = file.normalised();
            match ServiceFile::from_value(&kept) {
                Ok(again) => assert_eq!(again.normalised(), kept, "{text}"),
                Err(mistakes) => panic!("what was accepted is refused when it comes back from disk: {mistakes}"),
            }
        }
        Err(mistakes) => {
            let told = mistakes.to_string();
            assert!(!told.is_empty(), "refused without a reason: {text}");
            assert!(!told.contains(|c: char| c.is_control() && c != '\n'), "it reaches the terminal raw: {told:?}");
        }
    }
}
