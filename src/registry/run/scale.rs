//! A change of only the number of instances: the existing ones keep their guests, their queues and their requests.

use std::sync::Arc;

use serde_json::Value;

use super::version::Version;
use crate::registry::change::apply::OnFailure;
use crate::registry::change::{ChangeError, Progress, Report, Step};
use crate::registry::service::{Service, State};
use crate::registry::{Registry, Serving};
use crate::storage::Record;

impl Registry {
    /// Returns the current version of `record`: the running one with another number of instances if only that differs,
    /// or else a new build.
    pub(in crate::registry) async fn scaled_or_built(
        &self,
        state: &State,
        record: &Record,
        service: &Service,
        progress: &Progress,
    ) -> Result<Arc<Version>, ChangeError> {
        match self.scaled(state, record, progress).await? {
            Some(version) => Ok(version),
            None => self.build(record, service, OnFailure::Refuse, progress).await,
        }
    }

    /// Returns the current version of `record`, made from the running one; `None` if they differ in more, or none is
    /// running.
    ///
    /// # Errors
    /// If a new instance cannot be brought up or warmed up.
    async fn scaled(
        &self,
        state: &State,
        record: &Record,
        progress: &Progress,
    ) -> Result<Option<Arc<Version>>, ChangeError> {
        let Some(Serving { current, canary: None }) = state.phase.serving() else { return Ok(None) };
        if current.number != state.record.version || !differ_in_instances_alone(&state.record, record) {
            return Ok(None);
        }
        let spec = record.file.parsed()?.shared_spec();
        let there = current.instances().len();
        if spec.instances() > there {
            progress(Report::Begun(Step::Initialize));
        }
        let version = current.with_instances(record.version, spec).await?;
        let new = there.min(version.instances().len())..version.instances().len();
        if !new.is_empty() {
            self.warm_up(record, &version, new, progress).await?;
        }
        Ok(Some(version))
    }
}

fn differ_in_instances_alone(old: &Record, new: &Record) -> bool {
    let files = |record: &Record| (record.processor.clone(), record.model.clone(), record.warm_up.clone());
    files(old) == files(new)
        && old.file != new.file
        && without_instances(&old.file.value()) == without_instances(&new.file.value())
}

fn without_instances(file: &Value) -> Value {
    let mut file = file.clone();
    if let Some(metadata) = file.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("instance");
        if metadata.is_empty() {
            file.as_object_mut().map(|file| file.remove("metadata"));
        }
    }
    file
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_left_without_the_number_of_instances_is_compared() {
        let file = |metadata: Value| json!({"name": "a", "metadata": metadata});
        assert_eq!(without_instances(&file(json!({"instance": 3}))), json!({"name": "a"}));
        assert_eq!(without_instances(&json!({"name": "a"})), json!({"name": "a"}));
        assert_ne!(
            without_instances(&file(json!({"instance": 3, "memory": 5}))),
            without_instances(&file(json!({"instance": 3, "memory": 6})))
        );
    }
}
