//! Completions in a real bash, with the names of a real host's services.

use std::process::Command;

use serde_json::json;

use crate::host::TestHost;

/// Loads the script, and calls the function that it registers as bash does at TAB: with the words before the cursor.
const TAB: &str = r#"
source <(bulkhead completions bash)
function=$(complete -p bulkhead | sed 's/.* -F \([^ ]*\) .*/\1/')
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
"$function" bulkhead "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"#;

fn offered(host: &TestHost, words: &[&str]) -> Option<Vec<String>> {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_bulkhead"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(
        program.parent().map(std::path::PathBuf::from).into_iter().chain(std::env::split_paths(&path)),
    );
    let bash = Command::new("bash")
        .args(["--norc", "--noprofile", "-c", TAB, "bash"])
        .args(words)
        .env("PATH", path.expect("a PATH"))
        .env("BULKHEAD_ADMIN", format!("http://{}", host.admin))
        .env("BULKHEAD_ADMIN_TOKEN", &host.admin_token)
        .output();
    let output = match bash {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: there is no bash");
            return None;
        }
        output => output.expect("bash"),
    };
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    Some(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

#[test]
fn bash_offers_the_services_of_the_host() {
    let host = TestHost::start();
    for name in ["digits", "echo-1", "echo-2"] {
        host.deploy(name, "echo", json!({}));
    }
    let Some(services) = offered(&host, &["bulkhead", "invoke", ""]) else { return };
    assert_eq!(services, ["digits", "echo-1", "echo-2"]);
    assert_eq!(offered(&host, &["bulkhead", "desc", "echo-"]).unwrap(), ["echo-1", "echo-2"]);
    assert_eq!(offered(&host, &["bulkhead", "inv"]).unwrap(), ["invoke"]);
    // Without a right to ask there are no names, and nothing is printed into the prompt.
    let words = ["bulkhead", "invoke", "--admin-token", "wrong", "d"];
    assert!(offered(&host, &words).unwrap().is_empty());
}
