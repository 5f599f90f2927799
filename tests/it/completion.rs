//! Completions in a real bash, with the names of a real host's services.

use std::process::Command;

use serde_json::json;

use crate::host::TestHost;

/// Loads the script, and calls the function that it registers as bash does at TAB: with the line, and its words before the
/// cursor, which readline divides at `:` and `=` too.
const TAB: &str = r#"
source <(bulkhead completions bash)
function=$(complete -p bulkhead | sed 's/.* -F \([^ ]*\) .*/\1/')
COMP_LINE=$LINE COMP_POINT=${#LINE} COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
"$function" bulkhead "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"#;

/// The words of a line as readline divides them; the last one may be empty.
fn divided(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for word in line.split(' ') {
        let mut rest = word;
        while let Some(at) = rest.find([':', '=']) {
            let is_first = at == 0;
            let (part, behind) = rest.split_at(if is_first { 1 } else { at });
            words.push(part);
            rest = behind;
        }
        if !rest.is_empty() || word.is_empty() {
            words.push(rest);
        }
    }
    words
}

fn offered(host: &TestHost, line: &str) -> Option<Vec<String>> {
    offered_to(&format!("http://{}", host.admin), host, line)
}

/// The completions of `line` where `admin` is the server of the environment.
fn offered_to(admin: &str, host: &TestHost, line: &str) -> Option<Vec<String>> {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_bulkhead"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(
        program.parent().map(std::path::PathBuf::from).into_iter().chain(std::env::split_paths(&path)),
    );
    let bash = Command::new("bash")
        .args(["--norc", "--noprofile", "-c", TAB, "bash"])
        .args(divided(line))
        .env("LINE", line)
        .env("PATH", path.expect("a PATH"))
        .env("BULKHEAD_ADMIN", admin)
        .env("BULKHEAD_ADMIN_TOKEN", &host.admin_token)
        .output();
    let output = match bash {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: there is no bash");
            return None;
        }
        output => output.expect("bash"),
    };
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    Some(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

#[test]
fn bash_offers_the_services_of_the_host() {
    let host = TestHost::start();
    for name in ["digits", "echo-1", "echo-2"] {
        host.deploy(name, "echo", json!({}));
    }
    let Some(services) = offered(&host, "bulkhead invoke ") else { return };
    assert_eq!(services, ["digits", "echo-1", "echo-2"]);
    assert_eq!(offered(&host, "bulkhead desc echo-").unwrap(), ["echo-1", "echo-2"]);
    assert_eq!(offered(&host, "bulkhead inv").unwrap(), ["invoke"]);
    // Without the right to ask there are no names, and nothing is printed into the prompt.
    assert!(offered(&host, "bulkhead invoke --admin-token wrong d").unwrap().is_empty());

    // The server of the command line, and a name behind `=`: bash gets only the part behind the last division.
    let admin = host.admin;
    let nobody = "http://127.0.0.1:1";
    for (line, names) in [
        (format!("bulkhead invoke --admin http://{admin} d"), &["digits"][..]),
        (format!("bulkhead invoke --admin=http://{admin} ec"), &["echo-1", "echo-2"]),
        (format!("bulkhead mirror echo-1 --admin http://{admin} --target=d"), &["digits"]),
        (format!("bulkhead queue get --admin http://{admin} d"), &["digits"]),
    ] {
        assert_eq!(offered_to(nobody, &host, &line).unwrap(), names, "{line}");
    }
    assert!(offered_to(nobody, &host, "bulkhead invoke d").unwrap().is_empty());
}
