//! Carries out a change to its end, even if the client disconnects.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::Admin;
use super::problem::Problem;
use crate::registry::{ChangeRequest, Registry};

/// Spawns `work`, which makes the change `order` of the service `asked`. A refusal is written to the log and the audit
/// log in the words that the client gets. A panic counts as a refusal.
pub(super) fn undertake<T: Send + 'static>(
    admin: Arc<Admin>,
    order: ChangeRequest,
    asked: String,
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> JoinHandle<Result<T, Problem>> {
    tokio::spawn(async move {
        // A task of its own, so that a panic in it does not prevent the entry in the logs.
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
