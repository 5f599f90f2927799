use std::path::PathBuf;

/// The model that [`initialize`](crate::Processor::initialize) reads, and its configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// A read-only directory; none when the service has no model.
    pub dir: Option<PathBuf>,
    /// The service file's `model_entry`: a path inside `dir`.
    pub entry: Option<String>,
    /// The service file's `model_config` as text, JSON where the file held a JSON value; empty when the file has none.
    pub config: String,
}

impl Model {
    /// Returns the model's directory and its entry as one path; `None` if the service file lacks either.
    #[must_use]
    pub fn entry_path(&self) -> Option<PathBuf> {
        Some(self.dir.as_ref()?.join(self.entry.as_ref()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_lies_in_the_directory() {
        let model =
            Model { dir: Some(PathBuf::from("/model")), entry: Some("v2/digits.onnx".to_owned()), ..Model::default() };
        assert_eq!(model.entry_path(), Some(PathBuf::from("/model/v2/digits.onnx")));
    }

    #[test]
    fn half_a_model_has_no_entry_path() {
        let only_dir = Model { dir: Some(PathBuf::from("/model")), ..Model::default() };
        let only_entry = Model { entry: Some("digits.onnx".to_owned()), ..Model::default() };
        assert_eq!(only_dir.entry_path(), None);
        assert_eq!(only_entry.entry_path(), None);
    }
}
