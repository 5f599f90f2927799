//! The problem for each error from elsewhere in the host.

use super::Problem;
use super::kinds::{
    ARTIFACT_DAMAGED, ARTIFACT_MISMATCH, ARTIFACT_MISSING, BAD_REQUEST, BODY_TOO_LARGE, CANARY_TOKEN, CANARY_UNDER_WAY,
    CHANGE_CONFLICT, DEADLINE_EXCEEDED, HOST_UNFIT, INSTANCE_NOT_FOUND, ITEM_NOT_FOUND, Kind, MIRROR_REFUSED,
    NAME_TAKEN, NO_CANARY, NO_PROCESSOR, NO_ROOM, NO_SHARE, NOT_ASYNCHRONOUS, NOT_RUNNING, OF_A_HEAD, OTHER_TYPE,
    OUTCOME_UNKNOWN, PRECONDITION_FAILED, PROCESSOR_REFUSED, QUEUE_NOT_EMPTY, QUEUE_UNAVAILABLE, RATE_LIMITED,
    SERVICE_EXISTS, SERVICE_IS_PUBLIC, SERVICE_NOT_FOUND, STORAGE_FULL, TWO_TOKENS, VERSION_INCOMPLETE,
    VERSION_NOT_FOUND,
};
use crate::admin::operations::MAX_ARTIFACT;
use crate::auth::Denied;
use crate::front::{HeadFault, of_a_head};
use crate::incoming::Broken;
use crate::queue::QueueError;
use crate::registry::ChangeError;
use crate::storage::StorageError;

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let failures = match denied {
            Denied::Unauthorized(_) => return Self::unauthorized(),
            Denied::TooManyFailures(failures) => failures,
        };
        let mut problem = Self::new(
            &RATE_LIMITED,
            format!("more than {} wrong admin tokens a second came from this address", failures.most),
        );
        problem.more.retry_after = Some(failures.retry_after);
        problem
    }
}

impl From<HeadFault> for Problem {
    fn from(fault: HeadFault) -> Self {
        let (status, code, detail) = of_a_head(fault);
        if code == BODY_TOO_LARGE.code {
            // The front's text is about a service's limit, so it is replaced.
            return Self::body_too_large(usize::try_from(MAX_ARTIFACT).unwrap_or(usize::MAX));
        }
        if let HeadFault::Slow { limit } = fault {
            // The front's text names an option that does not apply to this listener.
            return Self::new(&DEADLINE_EXCEEDED, format!("the head did not arrive within {} s", limit.as_secs()));
        }
        let is_it = |kind: &&&Kind| (kind.status, kind.code) == (status, code);
        Self::new(OF_A_HEAD.iter().find(is_it).copied().unwrap_or(&BAD_REQUEST), detail)
    }
}

impl From<Broken> for Problem {
    fn from(broken: Broken) -> Self {
        Self::bad_request(broken.to_string())
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Overtaken { revision, last } => {
                let reason = ChangeError::Overtaken { revision, last: last.clone() }.reason();
                let mut problem = Self::new(&PRECONDITION_FAILED, reason)
                    .with_hint("look at the service as it is now, and make the change again if it is still right");
                problem.more.overtaken = Some((revision, last.map(|entry| *entry)));
                problem
            }
            ChangeError::Excluded { revision, ref last } => {
                let mut problem = Self::new(&PRECONDITION_FAILED, error.reason());
                problem.more.overtaken = Some((revision, last.as_deref().cloned()));
                problem
            }
            ChangeError::Exists { .. } => Self::new(&SERVICE_EXISTS, error.reason())
                .with_hint("change it with `bulkhead modify`, or delete it first"),
            ChangeError::NotFound => {
                Self::new(&SERVICE_NOT_FOUND, error.reason()).with_hint("`bulkhead list` shows all services")
            }
            ChangeError::Invalid(mistakes) => Self::invalid(mistakes),
            ChangeError::Public => Self::new(&SERVICE_IS_PUBLIC, error.reason())
                .with_hint("`bulkhead modify NAME -D token=…` gives it one"),
            ChangeError::TwoTokens => Self::new(&TWO_TOKENS, error.reason())
                .with_hint("give its callers the new token, then retire it: `bulkhead token NAME --retire`"),
            ChangeError::NotRunning(_) => {
                Self::new(&NOT_RUNNING, error.reason()).with_hint("start it with `bulkhead start NAME`")
            }
            ChangeError::NoInstance { .. } => Self::new(&INSTANCE_NOT_FOUND, error.reason()),
            ChangeError::NoSuchVersion { .. } => Self::new(&VERSION_NOT_FOUND, error.reason())
                .with_hint("`bulkhead version NAME` lists the versions that are kept"),
            ChangeError::VersionIncomplete { .. } => Self::new(&VERSION_INCOMPLETE, error.reason())
                .with_hint("deploy it again with `bulkhead modify`, which uploads its files"),
            ChangeError::CanaryUnderWay(_) => Self::new(&CANARY_UNDER_WAY, error.reason())
                .with_hint("end it first: `bulkhead release NAME --weight 100` makes it current, `--abort` drops it"),
            ChangeError::NoCanary => {
                Self::new(&NO_CANARY, error.reason()).with_hint("`bulkhead modify NAME … --canary WEIGHT` deploys one")
            }
            ChangeError::NoShare => Self::new(&NO_SHARE, error.reason())
                .with_hint("`bulkhead modify NAME … --canary WEIGHT` deploys a canary; `metadata.group` names a group"),
            ChangeError::GroupOfThatName { .. } | ChangeError::GroupNamedLikeService { .. } => {
                Self::new(&NAME_TAKEN, error.reason()).with_hint("give one of the two another name")
            }
            ChangeError::MirrorsItself | ChangeError::NoMirrorTarget { .. } => {
                Self::new(&MIRROR_REFUSED, error.reason()).with_hint("`bulkhead list` shows all services")
            }
            ChangeError::MirrorOfQueue { .. } => Self::new(&MIRROR_REFUSED, error.reason())
                .with_hint("mirror between two services without `metadata.type` `Async`"),
            ChangeError::CanaryToken => Self::new(&CANARY_TOKEN, error.reason())
                .with_hint("change the token in a separate step, without --canary"),
            ChangeError::BadWeight { .. } => Self::new(&BAD_REQUEST, error.reason()),
            ChangeError::Refused { reason, stack } => {
                let mut problem = Self::new(&PROCESSOR_REFUSED, reason);
                problem.more.stack = stack;
                problem
            }
            ChangeError::NoRoom(reason) => Self::new(&NO_ROOM, reason).with_hint(
                "lower metadata.instance or metadata.rpc.worker_threads, or stop another service".to_owned(),
            ),
            ChangeError::HostUnfit(reason) => Self::new(&HOST_UNFIT, reason).with_hint(
                "the processor is not at fault; see if the data directory is mounted with noexec, or `ulimit -v` is set",
            ),
            ChangeError::Storage(error) => error.into(),
            ChangeError::QueueNotEmpty { .. } => Self::new(&QUEUE_NOT_EMPTY, error.reason())
                .with_hint("take the items out, or delete the service with them: `bulkhead delete NAME --drop-items`"),
            ChangeError::NoProcessor => Self::new(&NO_PROCESSOR, error.reason())
                .with_hint("`bulkhead modify NAME -Dprocessor_path=FILE`, then `bulkhead start NAME`"),
            ChangeError::OtherType => Self::new(&OTHER_TYPE, error.reason())
                .with_hint("delete the service and create it again, or create another one"),
            ChangeError::NotAsynchronous => Self::new(&NOT_ASYNCHRONOUS, error.reason())
                .with_hint("`bulkhead list` shows the type of each service"),
            ChangeError::NoItem { .. } => Self::new(&ITEM_NOT_FOUND, error.reason()),
            // The service was deleted at the same moment.
            ChangeError::Queue(QueueError::NoQueue(_)) => ChangeError::NotFound.into(),
            ChangeError::Queue(QueueError::StorageFull) => Self::new(&STORAGE_FULL, error.reason()),
            ChangeError::Queue(QueueError::Unavailable(_)) => Self::new(&QUEUE_UNAVAILABLE, error.reason()),
            ChangeError::Queue(why) => Self::internal(&why.to_string()),
            ChangeError::Internal(cause) => Self::internal(&cause),
        }
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        let told = error.to_string();
        if error.is_over_file_limit() {
            return Self::new(&STORAGE_FULL, "a file would be larger than the host may make one")
                .with_hint("the host was started with that limit: `ulimit -f`, or LimitFSIZE= of a systemd unit");
        }
        if error.is_full() {
            return Self::new(&STORAGE_FULL, "the disk of the data directory is full")
                .with_hint("free some space and try again; the deployed services keep running");
        }
        match error {
            StorageError::Missing { sha256 } => {
                Self::new(&ARTIFACT_MISSING, told).with_hint(format!("PUT /api/v1/artifacts/{sha256}"))
            }
            StorageError::Damaged { sha256, .. } => Self::new(&ARTIFACT_DAMAGED, told).with_hint(format!(
                "`bulkhead modify NAME -s FILE` uploads it again, and so does PUT /api/v1/artifacts/{sha256}"
            )),
            StorageError::BadModel { .. } => Self::new(&BAD_REQUEST, told),
            StorageError::WrongDigest { .. } => Self::new(&ARTIFACT_MISMATCH, told),
            StorageError::TooLarge { .. } => Self::new(&BODY_TOO_LARGE, told),
            StorageError::Conflict { .. } => Self::new(&CHANGE_CONFLICT, told)
                .with_hint("look at the service as it is now, and make the change again"),
            StorageError::Io { source, .. } => Self::internal(&format!("{told}: {source}")),
            StorageError::Unknown { ref source, .. } => {
                tracing::error!(error = source.with_source(), "{told}");
                Self::new(&OUTCOME_UNKNOWN, told).with_hint(
                    "until then the versions deployed before keep serving; make the change again once the disk works",
                )
            }
            StorageError::Database(source) => Self::internal(&format!("{told}: {source}")),
            StorageError::DatabaseDamaged { .. }
            | StorageError::StoresDamaged { .. }
            | StorageError::DatabaseLost { .. }
            | StorageError::DatabaseChanged { .. }
            | StorageError::DatabaseThere { .. }
            | StorageError::BadRange { .. } => Self::internal(&told),
            StorageError::Record { source, .. } => Self::internal(&format!("{told}: {source}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_faulty_head_is_told_what_a_caller_of_the_data_listener_is_told() {
        for (fault, status) in [
            (HeadFault::Malformed("there are two Host headers"), 400),
            (HeadFault::TargetTooLong, 414),
            (HeadFault::ExpectationUnknown, 417),
            (HeadFault::HeadTooLarge, 431),
            (HeadFault::NotImplemented("x"), 501),
            (HeadFault::VersionNotSupported, 505),
        ] {
            let problem = Problem::from(fault);
            let (known, code, detail) = of_a_head(fault);
            assert_eq!((problem.kind.status, problem.kind.code, problem.detail), (known, code, detail), "{fault:?}");
            assert_eq!(known, status, "{fault:?}");
        }
    }
}
