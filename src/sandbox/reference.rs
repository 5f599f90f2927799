//! The reference page of the contract between host and processor, which is the WIT as it is, and the kinds of faults for
//! that of the metrics.

use std::fs;

use bulkhead_artifacts::root;
use bulkhead_pages::generated::check;
use bulkhead_pages::source;

use super::limits::Refused;
use super::{Fault, RecycleReason};

#[test]
fn the_page_is_what_the_code_says() {
    let directory = root().join("guest-sdk/wit");
    let entries = fs::read_dir(directory).expect("the WIT").map(|entry| entry.expect("a file").path());
    let files: Vec<(String, String)> = entries
        .map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = fs::read_to_string(path).expect("text");
            (name, format!("```wit\n{}\n```", text.trim_end()))
        })
        .collect();
    let parts: Vec<(&str, String)> = files.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    check("docs/reference/wit.md", &parts);
}

/// The kinds of faults that cost a guest, each with its meaning.
pub(crate) fn faults() -> Vec<(&'static str, &'static str)> {
    let text = String::new;
    let all = [
        Fault::Failure { status: None, message: text() },
        Fault::Panic { message: text(), location: None },
        Fault::Trap { reason: text(), function: None },
        Fault::StackOverflow { function: None, or_else: None },
        Fault::OutOfMemory { refused: Refused::Memory { limit: 0 } },
        Fault::FuelExhausted { budget: 0 },
        Fault::BadAnswer { reason: text() },
        Fault::Host { reason: text() },
    ];
    let named: Vec<String> = all.iter().map(source::variant).collect();
    source::assert_complete(&named, &source::variants(include_str!("fault.rs"), "pub enum Fault {"), FILE);
    all.iter().filter(|fault| fault.spoils()).map(|fault| (fault.kind(), meaning(fault))).collect()
}

const FILE: &str = "src/sandbox/reference.rs";

fn meaning(fault: &Fault) -> &'static str {
    match fault {
        Fault::Failure { .. } => "The processor returned an error. The guest goes on.",
        Fault::Panic { .. } => "The guest reported a panic and ended itself.",
        Fault::Trap { .. } => "The guest did something that WebAssembly forbids, or ended itself.",
        Fault::StackOverflow { .. } => "The call stack of the guest was used up.",
        Fault::OutOfMemory { .. } => {
            "The guest ended itself after it was refused more memory (`sandbox.memory_mb`) or more table elements."
        }
        Fault::FuelExhausted { .. } => "The request used up `sandbox.fuel`.",
        Fault::BadAnswer { .. } => "The answer of the guest cannot be sent.",
        Fault::Host { .. } => "The host could not provide what the call needed.",
    }
}

/// The reasons for which intact guests are replaced, each with its meaning.
pub(crate) fn recycle_reasons() -> Vec<(&'static str, &'static str)> {
    let all = [RecycleReason::Requests, RecycleReason::Memory];
    let named: Vec<String> = all.iter().map(source::variant).collect();
    source::assert_complete(&named, &source::variants(include_str!("guest.rs"), "pub enum RecycleReason {"), FILE);
    let meaning = |reason| match reason {
        RecycleReason::Requests => "The guest has answered `sandbox.max_requests_per_instance` requests.",
        RecycleReason::Memory => "The memory of the guest has grown so much that the rest may soon be too little.",
    };
    all.map(|reason| (reason.name(), meaning(reason))).into()
}
