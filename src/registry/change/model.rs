//! Checks of a model's list of files: against the service file, and against the files that are stored.

use super::ChangeError;
use crate::config::{Mistakes, ServiceSpec};
use crate::registry::Registry;
use crate::storage::{ModelFile, Record};

/// Most paths that an error lists.
const LISTED: usize = 8;

impl Registry {
    /// Checks that the model of a new version has its `model_entry`, and that its files have the listed sizes.
    pub(in crate::registry) async fn check_model(
        &self,
        record: &Record,
        spec: &ServiceSpec,
    ) -> Result<(), ChangeError> {
        let mut mistakes = Mistakes::default();
        if let Some(message) = spec.model().entry.as_deref().and_then(|entry| absent(entry, &record.model)) {
            mistakes.add("model_entry", message);
        }
        for (index, file) in record.model.iter().enumerate().filter(|(_, file)| !file.directory) {
            let what = format!("model file {:?}", file.path);
            let size = self.storage.artifacts().size(&file.sha256, &what).await?;
            if size != file.size {
                let message = format!("{} for {:?}, which has {size} bytes", file.size, file.path);
                mistakes.add(&format!("model[{index}].size"), message);
            }
        }
        if mistakes.is_empty() { Ok(()) } else { Err(ChangeError::Invalid(mistakes)) }
    }
}

/// Returns the mistake if the entry is neither a file nor a directory of the model.
fn absent(entry: &str, model: &[ModelFile]) -> Option<String> {
    let inside = format!("{}/", entry.trim_end_matches('/'));
    if model.iter().any(|file| file.path == entry || format!("{}/", file.path).starts_with(&inside)) {
        return None;
    }
    let mut paths: Vec<&str> = model.iter().map(|file| file.path.as_str()).take(LISTED).collect();
    if model.len() > LISTED {
        paths.push("…");
    }
    Some(match paths.as_slice() {
        [] => format!("{entry:?}, and the service has no model (model_path)"),
        paths => format!("{entry:?} is not in the model, which has {}", paths.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Digest;

    #[test]
    fn an_entry_is_a_file_or_a_directory_of_the_model() {
        let file = |path: &str| ModelFile { path: path.into(), sha256: Digest::of(b""), size: 0, directory: false };
        let model = [file("v1/a.onnx"), file("labels.txt"), ModelFile { directory: true, ..file("cache") }];
        for there in ["v1/a.onnx", "v1", "v1/", "labels.txt", "cache"] {
            assert_eq!(absent(there, &model), None, "{there}");
        }
        for missing in ["a.onnx", "v", "v1/a", "labels.txt.bak"] {
            let message = absent(missing, &model).expect(missing);
            assert_eq!(message, format!("{missing:?} is not in the model, which has v1/a.onnx, labels.txt, cache"));
        }
        assert_eq!(absent("a", &[]).as_deref(), Some("\"a\", and the service has no model (model_path)"));
    }
}
