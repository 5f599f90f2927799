//! A file of the queues that cannot be read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Instant;

use serde_json::json;
use tempfile::TempDir;

use super::{Queue, deploy_stopped};
use crate::host::{TestHost, binary};

/// Starts a host that must refuse to start. Returns its standard error.
fn refused_start(dir: &TempDir) -> String {
    let ended = Command::new(binary())
        .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data"])
        .arg(dir.path().join("data"))
        .output()
        .expect("it runs");
    assert!(!ended.status.success());
    String::from_utf8_lossy(&ended.stderr).into_owned()
}

#[test]
fn a_damaged_file_is_named_with_what_to_do_and_an_intact_one_is_private() {
    let host = TestHost::start();
    let service = deploy_stopped(&host, "damage", json!({}));
    Queue::input(&host, &service).put("", b"x");
    let dir = host.end_and_keep();
    let file = dir.path().join("data/queues.redb");
    assert_eq!(fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o600);
    let whole = fs::read(&file).expect("bytes");
    fs::write(&file, b"this is no database").expect("a file");
    let said = refused_start(&dir);
    assert!(said.contains("queues.redb") && said.contains("move the damaged file away"), "{said}");
    // The file as it was.
    fs::write(&file, whole).expect("a file");
    let host = TestHost::start_in_dir(dir);
    assert_eq!(Queue::input(&host, &service).get("")[0].data, b"x");
}

/// The log has what the database does not have yet when the host is killed.
#[test]
fn a_damaged_log_is_named_and_without_a_log_the_host_goes_on() {
    let host = TestHost::start();
    let service = deploy_stopped(&host, "log", json!({}));
    let mut queue = Queue::input(&host, &service);
    for number in 0..3 {
        queue.put("", format!("{number}").as_bytes());
    }
    let dir = host.kill_and_keep();
    let file = dir.path().join("data/queues.log");
    assert_eq!(fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o600);
    let whole = fs::read(&file).expect("bytes");
    let mut damaged = whole.clone();
    // The first record begins here.
    damaged[4096 + 20] ^= 1;
    fs::write(&file, damaged).expect("a file");
    let said = refused_start(&dir);
    assert!(said.contains("queues.log") && said.contains("the record at byte 4096 is damaged"), "{said}");
    fs::write(&file, whole).expect("a file");
    let host = TestHost::start_in_dir(dir);
    assert_eq!(Queue::input(&host, &service).get("_length_=9&_auto_delete_=false").len(), 3);

    let dir = host.kill_and_keep();
    fs::remove_file(&file).expect("the file");
    let host = TestHost::start_in_dir(dir);
    host.wait_for("the line of the loss", || host.log().contains("queues.log is missing"));
    let mut queue = Queue::input(&host, &service);
    assert_eq!(queue.get("_length_=9").len(), 0, "they were in the log");
    assert_eq!(queue.put("", b"new").0, 1);
}

#[test]
fn a_log_without_its_database_keeps_the_host_from_starting() {
    let host = TestHost::start();
    let service = deploy_stopped(&host, "alone", json!({}));
    Queue::input(&host, &service).put("", b"x");
    let dir = host.kill_and_keep();
    let (database, log) = (dir.path().join("data/queues.redb"), dir.path().join("data/queues.log"));
    let kept = fs::read(&database).expect("bytes");
    fs::remove_file(&database).expect("the file");
    let said = refused_start(&dir);
    assert!(said.contains("missing or new") && said.contains("move queues.log away"), "{said}");
    fs::write(&database, kept).expect("a file");
    let dir = {
        let host = TestHost::start_in_dir(dir);
        assert_eq!(Queue::input(&host, &service).get("_auto_delete_=false")[0].data, b"x");
        host.end_and_keep()
    };
    for file in [&database, &log] {
        fs::remove_file(file).expect("the file");
    }
    let host = TestHost::start_in_dir(dir);
    assert_eq!(Queue::input(&host, &service).get(""), []);
}

/// The disk fails for good. The attempts to open the queues again must not keep the host from ending.
#[test]
fn a_host_whose_queues_cannot_be_written_says_so_and_ends() {
    let host = TestHost::start_with(&["--grace", "5s"], "queues.commit=full");
    let began = Instant::now();
    for _ in 0..20 {
        let refused = host.try_deploy("fails", "echo", json!({"metadata": {"type": "Async"}}));
        let code = refused.json()["code"].clone();
        let expected = [(507, "storage_full"), (503, "queue_unavailable")];
        assert!(expected.iter().any(|(status, name)| (refused.status, &code) == (*status, &json!(name))), "{code}");
    }
    let lines = || host.log().matches("the queues' database has failed").count();
    host.wait_for("a second attempt", || lines() > 1);
    // There is a pause between two attempts, however long the deploys take.
    assert!(lines() < 10 + began.elapsed().as_secs() as usize, "{} attempts at once", lines());
    let host = host.terminate_and_restart();
    assert_eq!(host.try_deploy("fails", "echo", json!({"metadata": {"type": "Async"}})).status, 201);
}

/// A queue that is full of what nobody takes must not keep the disk from anybody else.
#[test]
fn a_full_disk_refuses_puts_and_gives_out_what_is_there() {
    let host = TestHost::start_with(&[], "queues.space=full");
    let service = deploy_stopped(&host, "disk", json!({}));
    let mut queue = Queue::sink(&host, &service);
    let refused = queue.ask("POST", "", &[], b"x");
    assert_eq!((refused.status, &refused.json()["code"]), (507, &json!("storage_full")), "{}", refused.text());
    assert_eq!(queue.get(""), []);
    assert_eq!(queue.attribute("stream.lastEntry"), "0", "nothing was put");
}

/// A write that fails leaves it open whether it was made. Nothing is acknowledged, and the queues go on.
#[test]
fn a_failed_write_acknowledges_nothing_and_the_queues_go_on() {
    // Some commits open the queues and put the first item.
    let host = TestHost::start_with(&[], "queues.commit=full@5");
    let service = deploy_stopped(&host, "write", json!({}));
    let mut queue = Queue::input(&host, &service);
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    for number in 0..10 {
        let answer = queue.ask("POST", "", &[], format!("{number}").as_bytes());
        match answer.status {
            200 => acknowledged.push(format!("{number}").into_bytes()),
            507 | 503 => refused += 1,
            _ => panic!("{}", answer.text()),
        }
    }
    assert!(refused >= 1 && acknowledged.len() >= 8, "{refused} refused");
    let there: Vec<Vec<u8>> = queue.get("_length_=99").into_iter().map(|item| item.data).collect();
    assert_eq!(there, acknowledged);
    host.wait_for("the line of the failure", || host.log().contains("the queues' database is open again"));
}
