//! A host with wrong settings does not start. It names the setting and the mistake, and opens no port.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::figures;
use crate::host::{TestHost, binary};

/// Starts a host that must not start. Returns its exit code and its output.
pub(crate) fn refused(data: &Path, args: &[&str], env: &[(&str, &str)]) -> (i32, String) {
    let mut command = Command::new(binary());
    command.arg("serve").arg("--data").arg(data).envs(env.iter().copied());
    for (option, free) in [("--listen", "127.0.0.1:0"), ("--admin", "127.0.0.1:0")] {
        if !args.contains(&option) {
            command.args([option, free]);
        }
    }
    let output = command.args(args).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "no port is announced: {args:?}");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Arguments, environment, exit code, and parts of the output.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], i32, &'a [&'a str]);

#[test]
fn wrong_settings_are_refused_with_their_name_and_reason() {
    let dir = tempfile::tempdir().unwrap();
    let fresh = dir.path().join("fresh");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let (usage, failed) = (2, 1);
    let cases: [Case<'_>; 18] = [
        (&["--listen", "here"], &[], usage, &["--listen", "here"]),
        (&["--listen", "127.0.0.1"], &[], usage, &["--listen", "127.0.0.1"]),
        (&["--admin", "127.0.0.1:99999"], &[], usage, &["--admin", "99999"]),
        (&["--io-threads", "0"], &[], usage, &["--io-threads", "1..=1024"]),
        (&["--io-threads", "many"], &[], usage, &["--io-threads", "many"]),
        (&["--grace", "soon"], &[], usage, &["--grace", "30, 1500ms or 2m"]),
        (&["--grace", "-1"], &[], usage, &["-1"]),
        (&["--head-timeout", "0"], &[], usage, &["--head-timeout", "more than 0"]),
        (&["--idle-timeout", "2 years"], &[], usage, &["--idle-timeout", "at most a day"]),
        (&["--write-timeout", ""], &[], usage, &["--write-timeout"]),
        (&["--max-connections", "0"], &[], usage, &["--max-connections", "non-zero"]),
        (&["--max-connections-per-address", "x"], &[], usage, &["--max-connections-per-address", "x"]),
        (&["--max-failed-logins-per-address", "0"], &[], usage, &["--max-failed-logins-per-address", "non-zero"]),
        (&["--log-format", "xml"], &[], usage, &["--log-format", "text, json"]),
        (&["--no-such-option"], &[], usage, &["--no-such-option"]),
        (&["--listen", &taken], &[], failed, &["--listen", &taken, "in use"]),
        (&["--admin", &taken], &[], failed, &["--admin", &taken, "in use"]),
        (&[], &[("BULKHEAD_LOG", "bulkhead=loud")], failed, &["BULKHEAD_LOG", "loud"]),
    ];
    let mut right = 0;
    for (args, env, exit, words) in &cases {
        let (code, said) = refused(&fresh, args, env);
        assert_eq!(code, *exit, "{args:?}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{args:?}: {said}");
        right += 1;
    }
    figures::must("settings.refused", "every one", format!("{right} of {}", cases.len()), right == cases.len());
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let host = TestHost::start();
    let mut list = Command::new(binary());
    list.args(["list", "--admin", &format!("http://{}", host.admin), "--admin-token", &host.admin_token]);
    let list = list.env("BULKHEAD_ACTOR", "").env("BULKHEAD_CONFIG", "").env("BULKHEAD_DATA", "").output().unwrap();
    assert!(list.status.success(), "{list:?}");

    // The host gets as far as the taken port.
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let names = ["IO_THREADS", "MAX_CONNECTIONS", "GRACE", "HTTP2", "LOG_FORMAT", "GATEWAY", "ADVERTISE", "LOG"];
    let names = names.map(|name| format!("BULKHEAD_{name}"));
    let empty: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let (code, said) = refused(&dir.path().join("data"), &["--listen", &taken], &empty);
    assert!(code == 1 && said.contains("in use"), "{code}: {said}");
}

#[test]
fn a_data_directory_that_cannot_be_used_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (file, garbage, dangling) = (dir.path().join("file"), dir.path().join("garbage"), dir.path().join("dangling"));
    fs::write(&file, "mine").unwrap();
    fs::create_dir(&garbage).unwrap();
    fs::write(garbage.join("bulkhead.redb"), "this is no database").unwrap();
    symlink(dir.path().join("nowhere/at/all"), &dangling).unwrap();
    for data in [&file, &garbage, &dangling] {
        let (code, said) = refused(data, &[], &[]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(&data.display().to_string()), "{said}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    assert_eq!(fs::read_to_string(garbage.join("bulkhead.redb")).unwrap(), "this is no database");
}

#[test]
fn a_second_host_on_the_same_data_is_refused_and_the_first_goes_on() {
    let host = TestHost::start();
    let (code, said) = refused(&host.dir().join("data"), &[], &[]);
    assert_eq!(code, 1);
    assert!(said.contains("another") || said.contains("lock") || said.contains("already open"), "{said}");
    assert_eq!(host.get_admin("/readyz").status, 200);
}

#[test]
fn an_admin_token_that_is_none_or_could_be_guessed_is_not_used() {
    let with = |token: &str| {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("admin.token"), token).unwrap();
        dir
    };
    for wrong in ["two words that are long enough", "short", "ümläute-ümläute-ümläute"] {
        let dir = with(wrong);
        let data = dir.path().join("data");
        let (code, said) = refused(&data, &[], &[]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("admin.token") && said.contains("16 to 512 visible ASCII"), "{said}");
        assert!(!said.contains(wrong), "{said}");
        assert_eq!(fs::read_to_string(data.join("admin.token")).unwrap(), wrong, "it is left for its owner to mend");
    }
    assert_eq!(TestHost::start_in_dir(with("an-operators-own-token\n")).admin_token, "an-operators-own-token");
    assert!(TestHost::start_in_dir(with("\n")).admin_token.len() >= 40, "what a crash left is made anew");
}
