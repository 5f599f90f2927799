//! The interfaces that a component may import, by name. `sandbox::host` implements them.

use crate::sandbox::engine::EngineKind;

/// The interfaces of the processor contract, at its only version.
const OURS: [&str; 5] = [
    "bulkhead:processor/types@0.1.0",
    "bulkhead:processor/call@0.1.0",
    "bulkhead:processor/batch@0.1.0",
    "bulkhead:processor/job@0.1.0",
    "bulkhead:processor/streaming@0.1.0",
];

/// The interfaces of WASI 0.2, at any patch version. Sockets are offered only because the runtimes of some languages
/// always import them: every use of a socket is denied.
const WASI: [&str; 29] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// The interfaces of WASI 0.3, at any patch version: those of the world `wasi:http/service`, and the environment. Only
/// the async engine offers them, besides all others.
const WASI_03: [&str; 20] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/types",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/system-clock",
    "wasi:clocks/timezone",
    "wasi:clocks/types",
    "wasi:http/client",
    "wasi:http/types",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// Proposals of WASI, at the one version that components use.
const PROPOSALS: [&str; 5] = [
    "wasi:config/store@0.2.0-rc.1",
    "wasi:keyvalue/atomics@0.2.0-draft2",
    "wasi:keyvalue/batch@0.2.0-draft2",
    "wasi:keyvalue/store@0.2.0-draft2",
    "wasi:logging/logging@0.1.0-draft",
];

/// Interfaces of others that have a counterpart here.
const REPLACED: [(&str, &str); 7] = [
    ("wasi:keyvalue", "wasi:keyvalue is offered in version 0.2.0-draft2: store, atomics and batch"),
    ("wasi:config", "wasi:config is offered in version 0.2.0-rc.1: store"),
    ("wasi:logging", "wasi:logging is offered in version 0.1.0-draft"),
    ("spin:key-value", "use wasi:keyvalue@0.2.0-draft2, which is offered here"),
    ("spin:variables", "use wasi:config/store@0.2.0-rc.1, or environment variables (processor_envs)"),
    ("fermyon:spin/key-value", "use wasi:keyvalue@0.2.0-draft2, which is offered here"),
    ("fermyon:spin/variables", "use wasi:config/store@0.2.0-rc.1, or environment variables (processor_envs)"),
];

/// True if a component for this kind of engine may import this.
pub(super) fn is_offered(import: &str, kind: EngineKind) -> bool {
    if OURS.contains(&import) || PROPOSALS.contains(&import) {
        return true;
    }
    let Some((interface, version)) = import.split_once('@') else { return false };
    let is_of_03 = kind == EngineKind::Async
        && version.starts_with("0.3.")
        && !version.contains('-')
        && WASI_03.contains(&interface);
    is_of_03 || version.starts_with("0.2.") && WASI.contains(&interface)
}

/// Returns the likely reason for an import that is not offered, and the way to remove it, for the author.
pub(super) fn cure(import: &str, kind: EngineKind) -> &'static str {
    let (interface, version) = import.split_once('@').unwrap_or((import, ""));
    let is_of = |package: &str| interface.strip_prefix(package).is_some_and(|rest| rest.starts_with('/'));
    if is_of("bulkhead:processor") {
        return "the contract here is bulkhead:processor@0.1.0; build the component against the WIT of this version";
    }
    if interface.starts_with("wasi:") && version.starts_with("0.3") && version.contains('-') {
        return "this is a draft of WASI 0.3; build with a tool that makes components of WASI 0.2 or of WASI 0.3.0";
    }
    if interface.starts_with("wasi:") && version.starts_with("0.3") && kind == EngineKind::Async {
        return "of WASI 0.3 only the interfaces of the world wasi:http/service@0.3.0 and wasi:cli/environment are offered; \
                files and sockets are there in version 0.2";
    }
    if interface.starts_with("wasi:") && version.starts_with("0.3") {
        return "WASI 0.3 is offered only to components that export wasi:http/handler@0.3; use a library for WASI 0.2 \
                (such as spin-sdk 3 and not 7), or build with `--sync` (componentize-qjs) or \
                `--backend-qjs-disable-async` (jco componentize)";
    }
    if WASI.contains(&interface) {
        return "WASI 0.2 is offered; build the component for one of its versions";
    }
    if ["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:http", "wasi:io", "wasi:random", "wasi:sockets"]
        .into_iter()
        .any(is_of)
    {
        return "of this package of WASI only the interfaces of the worlds wasi:cli/imports@0.2.0 and wasi:http/proxy@0.2.0 are offered";
    }
    if let Some((_, cure)) = REPLACED.iter().find(|(package, _)| is_of(package) || interface == *package) {
        return cure;
    }
    if interface.starts_with("wasi_snapshot_preview1") || interface.starts_with("wasi_unstable") {
        return "this is WASI of core modules; make a component with the adapter: `jco new --wasi-reactor`";
    }
    "a processor may import bulkhead:processor and WASI 0.2 (cli, clocks, filesystem, http, io, random, sockets), \
     wasi:keyvalue, wasi:config and wasi:logging, and WASI 0.3 if it exports wasi:http/handler@0.3; take it out of the \
     component's world, or compose the component with one that exports it"
}

/// Returns the way to build without a WebAssembly extension that is not offered, if the compiler's `refusal` names one.
pub(super) fn extension_cure(refusal: &str) -> Option<&'static str> {
    const CURES: [(&str, &str); 5] = [
        (
            "component model async",
            "asynchronous functions of components are not offered here; build without them: `--sync` (componentize-qjs), \
             `--backend-qjs-disable-async` (jco componentize), or for WASI 0.2 (wasm32-wasip2)",
        ),
        ("exceptions", "exceptions of WebAssembly are not offered here; build without them: `-fno-exceptions` in C++"),
        ("tail calls", "tail calls of WebAssembly are not offered here; build without `-mtail-call`"),
        ("threads", "threads of WebAssembly are not offered here; build for a target without them"),
        ("gc ", "garbage collection of WebAssembly is not offered here; use a tool chain that brings its own"),
    ];
    CURES.into_iter().find(|(word, _)| refusal.contains(word)).map(|(_, cure)| cure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_of_wasi_03_are_offered_to_asynchronous_components_alone() {
        for import in ["wasi:http/client@0.3.0", "wasi:http/types@0.3.2", "wasi:cli/stdout@0.3.0"] {
            assert_eq!(
                (is_offered(import, EngineKind::Async), is_offered(import, EngineKind::Fuel)),
                (true, false),
                "{import}"
            );
        }
        for import in ["wasi:filesystem/types@0.3.0", "wasi:sockets/types@0.3.0", "wasi:http/client@0.4.0"] {
            assert!(!is_offered(import, EngineKind::Async), "{import}: {}", cure(import, EngineKind::Async));
        }
        assert!(is_offered("wasi:io/streams@0.2.6", EngineKind::Async));
    }

    #[test]
    fn what_is_not_offered_has_a_cure_that_fits_it() {
        for (import, told) in [
            ("wasi:http/handler@0.3.0", "--sync"),
            ("wasi:httpx/types@0.2.10", "out of"),
            ("bulkhead:processor/call@0.2.0", "bulkhead:processor@0.1.0"),
            ("wasi:cli/stdout@0.3.0", "--sync"),
            ("wasi:http/types@0.3.0-rc-2026-03-15", "draft"),
            ("wasi:io/streams@0.1.0", "one of its versions"),
            ("wasi:clocks/timezone@0.2.3", "only the interfaces of the worlds"),
            ("wasi:keyvalue/store@0.2.0-draft", "0.2.0-draft2"),
            ("wasi:config/store@0.2.0-draft-2024-09-27", "0.2.0-rc.1"),
            ("fermyon:spin/key-value@2.0.0", "wasi:keyvalue@0.2.0-draft2"),
            ("fermyon:spin/variables@2.0.0", "processor_envs"),
            ("fermyon:spin/sqlite@2.0.0", "out of"),
            ("spin:key-value/key-value@3.0.0", "wasi:keyvalue@0.2.0-draft2"),
            ("spin:variables/variables@3.0.0", "processor_envs"),
            ("log", "out of"),
        ] {
            let cure = cure(import, EngineKind::Fuel);
            assert!(!is_offered(import, EngineKind::Fuel) && cure.contains(told), "{import}: {cure}");
        }
    }
}
