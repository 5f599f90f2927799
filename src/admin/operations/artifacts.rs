//! Uploads: the files of services, named by their SHA-256.

use http::StatusCode;
use http::header::CONTENT_LENGTH;
use hyper::body::Body;

use crate::admin::api::{json_reply, piece};
use crate::admin::operation::{Answer, Asked, Content, Operation};
use crate::admin::problem::Problem;
use crate::admin::problem::kinds::{
    ARTIFACT_MISMATCH, BODY_TOO_LARGE, DEADLINE_EXCEEDED, LENGTH_REQUIRED, NOT_FOUND, STORAGE_FULL,
};
use crate::admin::{Admin, Reply};
use crate::api::Artifact;
use crate::incoming::Incoming;
use crate::storage::{Digest, StorageError};

/// Most bytes of an uploaded file. Ordinary guests with a model or an interpreter inside have up to 20 MB.
pub(in crate::admin) const MAX_ARTIFACT: u64 = 64 << 20;

pub(super) static ROWS: &[Operation] = &[
    Operation::get("/api/v1/artifacts/{sha256}", "getArtifact", |asked| Box::pin(find(asked)))
        .says(
            "Check whether a file is stored",
            "A stored file is kept for another hour, as if it had just been uploaded, so that it can be deployed. A \
             file whose bytes have changed on the host's disk counts as missing.",
        )
        .answers(&[Answer::ok("The file is stored.", &[Content::json::<Artifact>()])])
        .refuses(&[&NOT_FOUND]),
    Operation::put("/api/v1/artifacts/{sha256}", "putArtifact", |asked| Box::pin(put(asked)))
        .says(
            "Upload a file",
            "At most 64 MiB. A file that no service names is removed an hour after its last upload or check. A file \
             whose bytes have changed on the host's disk is replaced.",
        )
        .takes(&[Content::Bytes])
        .answers(&[
            Answer::new(StatusCode::CREATED, "The file has been stored.", &[Content::json::<Artifact>()]),
            Answer::ok("The file was stored already.", &[Content::json::<Artifact>()]),
        ])
        .refuses(&[&ARTIFACT_MISMATCH, &DEADLINE_EXCEEDED, &LENGTH_REQUIRED, &BODY_TOO_LARGE, &STORAGE_FULL]),
];

async fn find(asked: Asked) -> Result<Reply, Problem> {
    let sha256 = digest(&asked)?;
    if !asked.admin.storage.artifacts().renew(&sha256).await? {
        return Err(Problem::artifact_not_found());
    }
    json_reply(StatusCode::OK, &Artifact { sha256: sha256.into() })
}

async fn put(asked: Asked) -> Result<Reply, Problem> {
    let sha256 = digest(&asked)?;
    if asked.admin.storage.artifacts().renew(&sha256).await? {
        return json_reply(StatusCode::OK, &Artifact { sha256: sha256.into() });
    }
    // A request with neither a length nor chunks has no body.
    if asked.body.is_end_stream() && !asked.headers.contains_key(CONTENT_LENGTH) {
        return Err(Problem::length_required());
    }
    receive(&asked.admin, &sha256, asked.body).await?;
    json_reply(StatusCode::CREATED, &Artifact { sha256: sha256.into() })
}

fn digest(asked: &Asked) -> Result<Digest, Problem> {
    Digest::parse(asked.place("sha256"))
        .ok_or_else(|| Problem::bad_request("an artifact's name is its SHA-256: 64 lower-case hexadecimal digits"))
}

/// Writes an upload to disk as it comes in.
async fn receive(admin: &Admin, digest: &Digest, mut body: Incoming) -> Result<(), Problem> {
    if body.size_hint().lower() > MAX_ARTIFACT {
        return Err(StorageError::TooLarge { limit: MAX_ARTIFACT }.into());
    }
    let mut upload = admin.storage.artifacts().begin(MAX_ARTIFACT).await?;
    while let Some(piece) = piece(&mut body).await? {
        upload.write(piece).await?;
    }
    upload.finish(digest).await?;
    Ok(())
}
