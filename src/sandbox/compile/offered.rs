//! The interfaces that a component may import, by name; what they do is in `sandbox::host`.

/// Of the processor contract, at its one version.
const OURS: [&str; 3] =
    ["bulkhead:processor/types@0.1.0", "bulkhead:processor/call@0.1.0", "bulkhead:processor/batch@0.1.0"];

/// Of WASI 0.2, at any patch version. Sockets are offered only so that languages whose runtimes always import them can
/// be served: every use of one is denied.
const WASI: [&str; 27] = [
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

pub(super) fn is_offered(import: &str) -> bool {
    if OURS.contains(&import) {
        return true;
    }
    let Some((interface, version)) = import.split_once('@') else { return false };
    version.starts_with("0.2.") && WASI.contains(&interface)
}
