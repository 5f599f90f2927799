//! Converts stored records to documents. The two have separate types, so that each can change without the other.

use crate::api::{AuditEntry, Canary, Mirror, ModelFile, Sha256, StoredArtifact, Version};
use crate::storage::{self, CanaryRecord, Digest, Entry, MirrorRecord, Record, VersionRecord};

/// Converts a version of the service that `record` describes.
pub(in crate::admin) fn version(version: &VersionRecord, record: &Record) -> Version {
    let canary = record.canary.filter(|canary| canary.version == version.number);
    Version {
        version: version.number,
        created_at: version.created_at.clone(),
        current: version.number == record.version,
        canary_weight: canary.map(|canary| canary.weight),
        processor: version.processor.clone().map(Into::into),
        model: version.model.iter().cloned().map(Into::into).collect(),
        warm_up: version.warm_up.clone().map(Into::into),
        spec: version.file.value(),
        note: version.note.clone(),
    }
}

pub(in crate::admin) fn audit_entry(entry: Entry) -> AuditEntry {
    AuditEntry {
        number: entry.number,
        at: entry.at,
        actor: entry.actor,
        token: entry.token,
        peer: entry.peer.to_string(),
        action: entry.action,
        service: entry.service,
        version_before: entry.version_before,
        version_after: entry.version_after,
        changed: entry.changed,
        outcome: entry.outcome,
        reason: entry.reason,
    }
}

impl From<Digest> for Sha256 {
    fn from(digest: Digest) -> Self {
        String::from(digest).into()
    }
}

impl From<storage::Artifact> for StoredArtifact {
    fn from(artifact: storage::Artifact) -> Self {
        Self { sha256: artifact.sha256.into(), bytes: artifact.bytes }
    }
}

impl From<storage::ModelFile> for ModelFile {
    fn from(file: storage::ModelFile) -> Self {
        Self { path: file.path, sha256: file.sha256.into(), size: file.size, directory: file.directory }
    }
}

impl From<CanaryRecord> for Canary {
    fn from(canary: CanaryRecord) -> Self {
        Self { version: canary.version, weight: canary.weight }
    }
}

impl From<MirrorRecord> for Mirror {
    fn from(mirror: MirrorRecord) -> Self {
        Self { target: mirror.target, ratio: mirror.ratio }
    }
}
