//! Every operation of the admin listener. Each subject has its rows and its handlers in a file of its own.

mod artifacts;
mod audit;
mod host;
mod instances;
mod mirror;
mod queues;
mod services;
mod tokens;
mod traffic;
mod upstreams;

pub(super) use self::artifacts::MAX_ARTIFACT;
pub(super) use self::host::TEXT;
use super::operation::Operation;

/// The rows of all operations, in the order in which they are documented.
pub(super) fn all() -> impl Iterator<Item = &'static Operation> {
    let services = [services::ROWS, instances::ROWS, traffic::ROWS, mirror::ROWS, tokens::ROWS, queues::ROWS];
    services.into_iter().chain([artifacts::ROWS, upstreams::ROWS, audit::ROWS, host::ROWS]).flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::operation::PLACES;
    use super::*;

    #[test]
    fn every_operation_is_documented_and_has_a_name_of_its_own() {
        let (mut ids, mut places) = (HashSet::new(), HashSet::new());
        for operation in all() {
            assert!(ids.insert(operation.id), "{} is there twice", operation.id);
            assert!(!operation.summary.is_empty() && !operation.summary.ends_with('.'), "{}", operation.id);
            assert!(!operation.answers.is_empty(), "{} never succeeds", operation.id);
            let braces = operation.path.matches('{').count();
            assert_eq!(operation.places().count(), braces, "{} has a place that nobody knows", operation.path);
            places.extend(operation.places().map(|place| place.name));
            let operators = operation.path.starts_with("/api/");
            assert_eq!(operators, operation.access == super::super::operation::Access::Operator, "{}", operation.path);
        }
        assert_eq!(places.len(), PLACES.len(), "a place stands in no path");
    }
}
