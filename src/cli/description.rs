//! The output of `desc`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::failure::Failure;
use super::instances::{LastFault, ready};
use super::mirror::Mirror;
use super::screen::Screen;
use super::services::{NOTHING, capitalised, part};
use super::versions::Canary;
use crate::config::ServiceFile;

#[derive(Deserialize)]
pub(super) struct Description {
    name: String,
    state: String,
    #[serde(default)]
    message: Option<String>,
    version: u64,
    #[serde(default)]
    canary: Option<Canary>,
    #[serde(default)]
    group: Option<String>,
    #[serde(default)]
    weight: u64,
    #[serde(default)]
    traffic_state: String,
    #[serde(default)]
    mirror: Option<Mirror>,
    url: String,
    token: Option<String>,
    #[serde(default)]
    previous_token: Option<String>,
    created_at: String,
    updated_at: String,
    processor: Artifact,
    #[serde(default)]
    model: Vec<Value>,
    #[serde(default)]
    ignored: Vec<String>,
    #[serde(default)]
    not_yet: Vec<String>,
    #[serde(default)]
    snapshot: Option<Snapshot>,
    #[serde(default)]
    recycled: BTreeMap<String, u64>,
    #[serde(default)]
    instances: Vec<Instance>,
    spec: Value,
    #[serde(default)]
    latest_version: Option<u64>,
}

#[derive(Deserialize)]
struct Snapshot {
    taken: bool,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
struct Artifact {
    sha256: String,
    bytes: u64,
}

#[derive(Deserialize)]
struct Instance {
    index: u64,
    workers: u64,
    #[serde(default)]
    stalled: u64,
    #[serde(default)]
    blocked: u64,
    busy: u64,
    queued: u64,
    max_queue_size: u64,
    restarts: u64,
    #[serde(default)]
    version: Option<u64>,
    #[serde(default)]
    last_fault: Option<LastFault>,
}

impl Description {
    /// Prints the fields of EAS's `desc` first, under its names, then Bulkhead's own.
    pub(super) fn show(self, screen: &mut Screen) -> Result<(), Failure> {
        let nothing = || NOTHING.to_owned();
        let (group, weight) = part(self.group, self.weight, &self.traffic_state);
        let file = ServiceFile::from_value(&self.spec).ok();
        let spec = file.as_ref().map(ServiceFile::spec);
        // A canary has instances of its own, which the service file of the current version does not count.
        let of_canary = self.instances.iter().filter(|instance| instance.version.is_some_and(|of| of != self.version));
        let total = spec.map_or(self.instances.len(), |spec| spec.instances() + of_canary.count());
        let running = self.instances.iter().filter(|instance| instance.takes_requests()).count();
        let is_blocked = self.state == "running" && running == 0 && !self.instances.is_empty();
        let memory = spec.map(|spec| format!("{} MiB a worker", spec.sandbox().memory_bytes >> 20));
        let digest = self.processor.sha256.get(..12).unwrap_or(&self.processor.sha256);
        let mut rows = vec![
            ("Status", if is_blocked { "Degraded".to_owned() } else { capitalised(&self.state) }),
            ("ServiceName", self.name),
            ("Region", nothing()),
            ("CreateTime", self.created_at),
            ("UpdateTime", self.updated_at),
            ("AccessToken", self.token.unwrap_or_else(|| "none: anybody may call it".to_owned())),
            ("PrivateToken", nothing()),
            ("TotalInstance", total.to_string()),
            ("RunningInstance", running.to_string()),
            ("PendingInstance", total.saturating_sub(running).to_string()),
            ("CPU", nothing()),
            ("GPU", nothing()),
            ("Memory", memory.unwrap_or_else(nothing)),
            ("Image", nothing()),
            ("Weight", weight),
            ("LatestVersion", self.latest_version.unwrap_or(self.version).to_string()),
            ("CurrentVersion", self.version.to_string()),
            ("Message", self.message.filter(|message| !message.is_empty()).unwrap_or_else(nothing)),
            ("IntranetEndpoint", self.url),
        ];
        if let Some(previous) = self.previous_token {
            rows.push(("PreviousToken", previous));
        }
        if let Some(canary) = self.canary {
            rows.push(("Canary", canary.told()));
        }
        if group != NOTHING {
            rows.push(("Group", group));
        }
        rows.push(("Processor", format!("{digest}…, {} bytes", self.processor.bytes)));
        let files = self.model.iter().filter(|file| file["directory"] != true).count();
        rows.push(("Model", format!("{files} {}", if files == 1 { "file" } else { "files" })));
        if let Some(mirror) = self.mirror {
            rows.push(("Mirror", mirror.told()));
        }
        if let Some(snapshot) = self.snapshot {
            rows.push(("Snapshot", snapshot.told()));
        }
        if !self.recycled.is_empty() {
            let told = self.recycled.iter().map(|(reason, count)| format!("{count} for their {reason}"));
            rows.push(("Recycled", told.collect::<Vec<_>>().join(", ")));
        }
        for (name, keys) in [("Ignored", self.ignored), ("NoEffectYet", self.not_yet)] {
            if !keys.is_empty() {
                rows.push((name, keys.join(", ")));
            }
        }
        screen.pairs(rows.into_iter().map(|(name, value)| [name.to_owned(), value]))?;
        if !self.instances.is_empty() {
            screen.line("")?;
            let header = ["INSTANCE", "VERSION", "WORKERS", "BUSY", "QUEUED", "RESTARTS", "LASTSTATE"];
            screen.table(header, self.instances.into_iter().map(Instance::cells))?;
        }
        screen.line(format_args!("\nServiceConfig:\n{:#}", self.spec))
    }
}

impl Snapshot {
    fn told(self) -> String {
        if self.taken {
            "taken: guests start from it".to_owned()
        } else {
            format!("none: {}; `initialize` runs for each worker", self.reason)
        }
    }
}

impl Instance {
    fn takes_requests(&self) -> bool {
        ready(self.workers, self.stalled, self.blocked) > 0
    }

    fn cells(self) -> [String; 7] {
        let nothing = || NOTHING.to_owned();
        [
            self.index.to_string(),
            self.version.map_or_else(nothing, |version| version.to_string()),
            self.workers.to_string(),
            self.busy.to_string(),
            format!("{} of {}", self.queued, self.max_queue_size),
            self.restarts.to_string(),
            self.last_fault.as_ref().map_or_else(nothing, LastFault::told),
        ]
    }
}
