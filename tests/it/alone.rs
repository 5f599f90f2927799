//! A shell in network and process namespaces of its own: the default ports may be in use on this machine, and all started
//! processes end with the namespace.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use crate::host::binary;

/// Makes curl write the status of each answer to standard error, unless a command asks for something else.
const CURLRC: &str = "silent\nshow-error\nwrite-out = \"%{stderr}\\ncurl: status %{http_code}\\n\"\n";

/// Pauses of the pages are long enough for a quiet machine; other tests run here at the same time.
const SLEEP: &str = "sleep() { command sleep $((5 * $1)); }\n";

/// The result of a script.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    /// The errors of the commands, and each command before it ran.
    pub(crate) err: String,
}

/// Seconds after which a script is ended: a host that does not end would make the test wait for ever.
const PATIENCE: &str = "300";

fn unshare() -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", PATIENCE]);
    command.args(["unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child"]);
    command
}

/// True if namespaces can be made. Otherwise prints that `what` is skipped.
pub(crate) fn can_be_alone(what: &str) -> bool {
    let made = unshare().args(["ip", "link", "set", "lo", "up"]).stderr(Stdio::null()).status();
    let can_be = made.is_ok_and(|status| status.success());
    if !can_be {
        println!("skipped: {what}: no network namespace of its own can be made (unshare --net)");
    }
    can_be
}

/// Runs a script in `directory`, up to its first command that fails. The tested binary is on the `PATH`. No setting of this
/// machine's user has an effect on it.
pub(crate) fn run(script: &str, directory: &Path) -> Ended {
    let bin = directory.join("bin");
    fs::create_dir(&bin).expect("a directory");
    symlink(binary(), bin.join("bulkhead")).expect("a link");
    fs::write(bin.join(".curlrc"), CURLRC).expect("a file");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = unshare();
    for name in [
        "BULKHEAD_ADMIN",
        "BULKHEAD_ADMIN_TOKEN",
        "BULKHEAD_DATA",
        "http_proxy",
        "HTTP_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ] {
        command.env_remove(name);
    }
    let (out, err) = (bin.join("out"), bin.join("err"));
    // The output goes to files, because a server in the background keeps its output open until it has ended.
    let status = command
        .args(["bash", "-c", &format!("set -ex\nip link set lo up\n{SLEEP}{script}")])
        .current_dir(directory)
        .env("PATH", path)
        .env("XDG_CONFIG_HOME", bin.join("config"))
        .env("CURL_HOME", &bin)
        .env("CARGO_NET_OFFLINE", "true")
        .env("BULKHEAD_START_S", "60")
        .stdin(Stdio::null())
        .stdout(File::create(&out).expect("a file"))
        .stderr(File::create(&err).expect("a file"))
        .status()
        .expect("it runs");
    let read = |path| String::from_utf8_lossy(&fs::read(path).expect("a file")).into_owned();
    Ended { status, out: read(out), err: read(err) }
}
