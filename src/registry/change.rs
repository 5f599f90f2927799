//! Changes to a service: their content, their progress, and the reasons for which they fail.

pub(in crate::registry) mod apply;
pub(in crate::registry) mod commit;
pub(in crate::registry) mod deploy;
pub(in crate::registry) mod effect;
pub(in crate::registry) mod history;
pub(in crate::registry) mod lifecycle;
pub(in crate::registry) mod model;
pub(in crate::registry) mod plan;
pub(in crate::registry) mod request;
pub(in crate::registry) mod tokens;

use serde_json::Value;

use crate::config::Mistakes;
use crate::queue::QueueError;
use crate::sandbox::{CompileError, InitializeError, PrepareError};
use crate::storage::{CanaryRecord, Digest, Entry, ModelFile, StorageError};

/// The files of a service, which are already uploaded.
#[derive(Clone, Debug)]
pub struct Files {
    /// `None` for a service without a processor.
    pub processor: Option<Digest>,
    pub model: Vec<ModelFile>,
    pub warm_up: Option<Digest>,
}

/// The changes of a modify. `None` leaves a part as it is.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// A JSON merge patch for the service file.
    pub patch: Option<Value>,
    pub processor: Option<Digest>,
    pub model: Option<Vec<ModelFile>>,
    /// `Some(None)` removes the warm-up data.
    pub warm_up: Option<Option<Digest>>,
    /// Percent of the requests for the new version at first; `None` for all requests at once.
    pub canary: Option<u64>,
}

/// The step that a deploy has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Check,
    Compile,
    Initialize,
    Snapshot,
    WarmUp,
    Swap,
}

impl Step {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Compile => "compile",
            Self::Initialize => "initialize",
            Self::Snapshot => "snapshot",
            Self::WarmUp => "warm_up",
            Self::Swap => "swap",
        }
    }
}

/// A report on a running deploy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    Begun(Step),
    /// A fact that the operator should know and that does not stop the deploy.
    Notice(String),
}

/// A callback for each step as it begins, and for notices.
pub type Progress = dyn Fn(Report) + Send + Sync;

/// The reason why a change was not made. Nothing has changed, unless the storage does not know the outcome.
#[derive(Debug)]
pub enum ChangeError {
    /// The service has changed since its operator saw it. Holds its revision, and its latest change if that is known.
    Overtaken {
        revision: u64,
        last: Option<Box<Entry>>,
    },
    /// The service is in a state that its operator excluded. Holds its revision and its latest change.
    Excluded {
        revision: u64,
        last: Option<Box<Entry>>,
    },
    /// A service of that name exists. `as_asked` is true if it has the requested settings and files.
    Exists {
        as_asked: bool,
    },
    NotFound,
    Invalid(Mistakes),
    /// The service has no token to change.
    Public,
    /// A rotation would add a third token, and callers with the first one would be refused.
    TwoTokens,
    /// The change needs a running service. Holds the actual phase.
    NotRunning(&'static str),
    NoInstance {
        index: usize,
        count: usize,
    },
    NoSuchVersion {
        number: u64,
        kept: Vec<u64>,
    },
    /// A file of an earlier version is gone or damaged: `missing` names it.
    VersionIncomplete {
        number: u64,
        missing: String,
        kept: Vec<u64>,
    },
    /// The service has a canary, so the change would be ambiguous between two versions.
    CanaryUnderWay(CanaryRecord),
    NoCanary,
    /// The service has neither a canary nor a group, so there is no share to set.
    NoShare,
    /// The service would have the name of the group that `member` is in.
    GroupOfThatName {
        member: String,
    },
    /// The service would be in a group that has the name of a service.
    GroupNamedLikeService {
        group: String,
    },
    MirrorsItself,
    NoMirrorTarget {
        target: String,
    },
    /// The source or the target of a mirror is an asynchronous service.
    MirrorOfQueue {
        service: String,
    },
    /// A canary must have the token of the current version, because callers cannot know which of the two answers.
    CanaryToken,
    BadWeight {
        /// The name of the weight in the request.
        name: &'static str,
        weight: u64,
        most: u64,
    },
    /// The processor cannot be deployed. Holds the reason, and the stack if the processor ran.
    Refused {
        reason: String,
        stack: String,
    },
    /// The host has no room for the guests of the service.
    NoRoom(String),
    /// The machine or its settings keep the host from running any processor. Holds the reason.
    HostUnfit(String),
    Storage(StorageError),
    /// The queues of the service still have items.
    QueueNotEmpty {
        input: u64,
        dead: u64,
        sink: u64,
    },
    /// A change from a service that is called to an asynchronous one, or back.
    OtherType,
    /// The change needs a processor.
    NoProcessor,

    Queue(QueueError),
    /// The service has no queues.
    NotAsynchronous,
    /// The input queue has no live item of this request.
    NoItem {
        request_id: String,
    },
    Internal(String),
}

impl From<Mistakes> for ChangeError {
    fn from(mistakes: Mistakes) -> Self {
        Self::Invalid(mistakes)
    }
}

impl From<StorageError> for ChangeError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<PrepareError> for ChangeError {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Engine(reason) => Self::Internal(reason),
            // The host's disk is at fault, not the processor.
            PrepareError::Compile(CompileError::Io(source)) => {
                Self::Storage(StorageError::Io { what: "keep compiled code".into(), source })
            }
            PrepareError::Compile(unmappable @ CompileError::Unmappable(_)) => Self::HostUnfit(unmappable.to_string()),
            refused => Self::Refused { reason: refused.to_string(), stack: String::new() },
        }
    }
}

impl From<InitializeError> for ChangeError {
    fn from(error: InitializeError) -> Self {
        let reason = error.to_string();
        match error {
            InitializeError::Fault { stack, .. } => Self::Refused { reason, stack },
            InitializeError::Declined(_) | InitializeError::TimedOut(_) => {
                Self::Refused { reason, stack: String::new() }
            }
            InitializeError::NoRoom(_) => Self::NoRoom(reason),
            InitializeError::Host(_) => Self::Internal(reason),
        }
    }
}

impl ChangeError {
    /// Returns one sentence for logs and for `desc`.
    pub fn reason(&self) -> String {
        match self {
            Self::Overtaken { last, .. } => {
                let by = |entry: &Entry| {
                    let who = entry.actor.as_deref().map(|actor| format!(" by {actor}")).unwrap_or_default();
                    format!("{} at {}{who}", entry.action, entry.at)
                };
                let last = last.as_deref().map(|entry| format!(": {}", by(entry))).unwrap_or_default();
                format!("the service has been changed since{last}")
            }
            Self::Excluded { revision, .. } => {
                format!("the service exists, at revision {revision}, and the change was to be made only if it does not")
            }
            Self::Exists { as_asked: false } => "a service of that name exists".into(),
            Self::Exists { as_asked: true } => {
                "a service of that name exists, with the same settings and files: there is nothing to create".into()
            }
            Self::NotFound => "there is no service of that name".into(),
            Self::NotRunning(state) => format!("the service is {state}, and this needs a running service"),
            Self::NoInstance { index, count } => {
                format!("there is no instance {index}; the service has {count}, counted from 0")
            }
            Self::NoSuchVersion { number, kept } => {
                format!("there is no version {number}, or it is not kept any more; {}", told_kept(kept))
            }
            Self::VersionIncomplete { number, missing, kept } => {
                format!("version {number} cannot be brought up: {missing} is gone or damaged; {}", told_kept(kept))
            }
            Self::CanaryUnderWay(CanaryRecord { version, weight }) => {
                format!("version {version} is a canary with {weight} % of the requests, and a service has at most one")
            }
            Self::NoCanary => "the service has no canary".into(),
            Self::NoShare => "the service has no canary and is in no group, so there is no share to set".into(),
            Self::GroupOfThatName { member } => {
                format!("service {member:?} is in a group of that name, which would have the same URL")
            }
            Self::GroupNamedLikeService { group } => {
                format!("the group {group:?} has the name of a service, which would have the same URL (metadata.group)")
            }
            Self::MirrorsItself => "a service cannot mirror its requests to itself (metadata.rpc.mirror)".into(),
            Self::NoMirrorTarget { target } => {
                format!("there is no service {target:?} to mirror requests to (metadata.rpc.mirror)")
            }
            Self::MirrorOfQueue { service } => format!(
                "service {service:?} is asynchronous: puts into a queue are not copied, and copies are not put into one"
            ),
            Self::CanaryToken => {
                "a canary must have the token of its service, because callers cannot know which version answers".into()
            }
            Self::BadWeight { name, weight, most } => format!("the {name} is {weight}, expected 0 to {most}"),
            Self::Invalid(mistakes) => mistakes.to_string(),
            Self::Public => "the service is public: it has no token".into(),
            Self::TwoTokens => "the previous token is still accepted".into(),
            Self::Refused { reason, .. } | Self::NoRoom(reason) | Self::HostUnfit(reason) | Self::Internal(reason) => {
                reason.clone()
            }
            Self::Storage(error) => error.to_string(),
            Self::QueueNotEmpty { input, dead, sink } => format!(
                "its queues still have items: {input} in the input queue, {dead} dead letters, {sink} results in the sink"
            ),
            Self::NoProcessor => "the service has no processor; add processor_path and upload the file".to_owned(),
            Self::OtherType => {
                "an asynchronous service cannot become one that is called, or the other way round (metadata.type)"
                    .into()
            }
            Self::Queue(why) => why.to_string(),
            Self::NotAsynchronous => "the service has no queues: its metadata.type is not Async".into(),
            Self::NoItem { request_id } => format!(
                "no item of the request {request_id:?} waits in the input queue or is being processed; it may be finished, \
                 or dead"
            ),
        }
    }
}

fn told_kept(kept: &[u64]) -> String {
    match kept {
        [] => "no version is kept".into(),
        [only] => format!("only version {only} is kept"),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(u64::to_string).collect();
            format!("kept are versions {} and {last}", first.join(", "))
        }
    }
}
