//! A change that an operator has ordered, carried to its end whether or not anybody waits for the answer.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::Admin;
use super::problem::Problem;
use crate::registry::{ChangeRequest, Registry};

/// Does `work` for `order`, about the service that was asked for. A refusal is put into the log and the audit log as its
/// client reads it; a panic is one as well.
pub(super) fn undertake<T: Send + 'static>(
    admin: Arc<Admin>,
    order: ChangeRequest,
    asked: String,
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> JoinHandle<Result<T, Problem>> {
    tokio::spawn(async move {
        // A task of its own, which may panic without taking the note along.
        let outcome = tokio::spawn(work).await.unwrap_or_else(|error| Err(Problem::internal(&error)));
        let outcome = outcome.map_err(|problem| admin.with_nearest(&asked, problem));
        if let Err(problem) = &outcome {
            note_refusal(&admin.registry, &order, problem.service().unwrap_or(&asked), problem).await;
        }
        outcome
    })
}

async fn note_refusal(registry: &Registry, order: &ChangeRequest, service: &str, problem: &Problem) {
    let (action, code, reason) = (order.action, problem.kind().code, problem.reason());
    let actor = order.by.name.as_deref();
    tracing::warn!(service, action, code, actor, reason, "a change was refused");
    registry.note(order.refused(service, code, &reason)).await;
}
