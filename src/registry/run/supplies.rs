//! The parts that a version's guests are created from and run with.

use std::sync::Arc;

use crate::admission::Executor;
use crate::sandbox::Program;
use crate::telemetry::ServiceMetrics;

/// The supplies of one version, shared by its instances.
#[derive(Clone)]
pub(in crate::registry) struct Supplies {
    /// The version's number.
    pub(in crate::registry) version: u64,
    pub(in crate::registry) program: Arc<Program>,
    pub(in crate::registry) executor: Arc<Executor>,
    pub(in crate::registry) metrics: Arc<ServiceMetrics>,
}
