//! The output of `desc`.

use super::failure::Failure;
use super::screen::Screen;
use super::told::{self, NOTHING, capitalised, part};
use crate::api::{Description, Instance, InstanceState, PhaseName, Snapshot};
use crate::config::ServiceFile;

/// Prints the fields of EAS's `desc` first, under its names, then Bulkhead's own.
pub(super) fn show(service: Description, screen: &mut Screen) -> Result<(), Failure> {
    let nothing = || NOTHING.to_owned();
    let (group, weight) = part(service.group, service.weight, &service.traffic_state);
    let file = ServiceFile::from_value(&service.spec).ok();
    let spec = file.as_ref().map(ServiceFile::spec);
    // A canary has instances of its own, which the service file of the current version does not count.
    let of_canary =
        service.instances.iter().filter(|instance| instance.version.is_some_and(|of| of != service.version));
    // A queue without a processor has nothing to run.
    let spec = spec.filter(|_| service.processor.is_some());
    let total = spec.map_or(service.instances.len(), |spec| spec.instances() + of_canary.count());
    let running = service.instances.iter().filter(|instance| instance.ready() > 0).count();
    let degraded = |instance: &Instance| instance.state == InstanceState::Degraded;
    let is_degraded = service.state == PhaseName::Running && service.instances.iter().any(degraded);
    let memory = spec.map(|spec| format!("{} MiB a worker", spec.sandbox().memory_bytes >> 20));
    let mut rows = vec![
        ("Status", if is_degraded { told::DEGRADED.to_owned() } else { capitalised(service.state.as_str()) }),
        ("ServiceName", service.name),
        ("Region", nothing()),
        ("CreateTime", service.created_at),
        ("UpdateTime", service.updated_at),
        ("AccessToken", service.token.unwrap_or_else(|| "none: calls need no token".to_owned())),
        ("PrivateToken", nothing()),
        ("TotalInstance", total.to_string()),
        ("RunningInstance", running.to_string()),
        ("PendingInstance", total.saturating_sub(running).to_string()),
        ("CPU", nothing()),
        ("GPU", nothing()),
        ("Memory", memory.unwrap_or_else(nothing)),
        ("Image", nothing()),
        ("Weight", weight),
        ("LatestVersion", service.latest_version.unwrap_or(service.version).to_string()),
        ("CurrentVersion", service.version.to_string()),
        ("Message", Some(service.message).filter(|message| !message.is_empty()).unwrap_or_else(nothing)),
        ("IntranetEndpoint", service.url),
    ];
    if let Some(sink) = service.sink_url {
        // The endpoint above is the input queue.
        rows.extend([("ServiceType", service.service_type.to_string()), ("SinkEndpoint", sink)]);
    }
    if let Some(previous) = service.previous_token {
        rows.push(("PreviousToken", previous));
    }
    if let Some(canary) = service.canary {
        rows.push(("Canary", told::canary(canary)));
    }
    if group != NOTHING {
        rows.push(("Group", group));
    }
    let processor = service.processor.map(|stored| format!("{}…, {} bytes", stored.sha256.short(), stored.bytes));
    rows.push(("Processor", processor.unwrap_or_else(|| "none: clients take the items".to_owned())));
    let files = service.model.iter().filter(|file| !file.directory).count();
    rows.push(("Model", format!("{files} {}", if files == 1 { "file" } else { "files" })));
    if let Some(mirror) = service.mirror {
        rows.push(("Mirror", told::mirror(&mirror)));
    }
    if let Some(snapshot) = service.snapshot {
        rows.push(("Snapshot", of_snapshot(snapshot)));
    }
    if !service.recycled.is_empty() {
        let told = service.recycled.iter().map(|(reason, count)| format!("{count} for their {reason}"));
        rows.push(("Recycled", told.collect::<Vec<_>>().join(", ")));
    }
    if !service.ignored.is_empty() {
        rows.push(("Ignored", service.ignored.join(", ")));
    }
    screen.pairs(rows.into_iter().map(|(name, value)| [name.to_owned(), value]))?;
    if !service.instances.is_empty() {
        screen.line("")?;
        let header = ["INSTANCE", "VERSION", "WORKERS", "BUSY", "QUEUED", "RESTARTS", "LASTSTATE"];
        screen.table(header, service.instances.iter().map(cells))?;
    }
    screen.line(format_args!("\nServiceConfig:\n{:#}", service.spec))
}

fn of_snapshot(snapshot: Snapshot) -> String {
    if snapshot.taken {
        "taken: guests start from it".to_owned()
    } else {
        format!("none: {}", snapshot.reason.unwrap_or_default())
    }
}

fn cells(instance: &Instance) -> [String; 7] {
    [
        instance.index.to_string(),
        instance.version.map_or_else(|| NOTHING.to_owned(), |version| version.to_string()),
        instance.workers.to_string(),
        instance.busy.to_string(),
        format!("{} of {}", instance.queued, instance.max_queue_size),
        instance.restarts.to_string(),
        told::last_fault(instance.last_fault.as_ref()),
    ]
}
