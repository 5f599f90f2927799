//! A missing or damaged database: the host reports it, does not start, and deletes nothing.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bulkhead::storage::{Catalog, Storage, StorageError};
use serde_json::json;

use super::artifacts;
use crate::dice::Dice;
use crate::figures::{must, rounds};
use crate::host::{TestHost, terminate};
use crate::settings::refused;

/// Makes every artifact old enough to be deleted as unused.
fn age(host: &TestHost) {
    let long_ago = SystemTime::now() - Duration::from_secs(3 * 3600);
    for entry in fs::read_dir(artifacts(host)).unwrap() {
        fs::File::open(entry.unwrap().path()).unwrap().set_modified(long_ago).unwrap();
    }
}

fn count(host: &TestHost) -> usize {
    fs::read_dir(artifacts(host)).unwrap().count()
}

#[test]
fn a_data_directory_that_has_lost_its_database_is_refused_and_nothing_is_swept_away() {
    let mut host = TestHost::start();
    host.deploy("echo", "echo", json!({}));
    terminate(host.pid());
    assert!(host.end().success());
    age(&host);
    let (data, there) = (host.dir().join("data"), count(&host));
    let database = data.join("bulkhead.redb");
    let kept = fs::read(&database).unwrap();
    let blank = {
        let dir = tempfile::tempdir().unwrap();
        drop(redb::Database::create(dir.path().join("blank")).unwrap());
        fs::read(dir.path().join("blank")).unwrap()
    };
    for (state, bytes) in [("is missing", None), ("is empty", Some(&b""[..])), ("has no tables", Some(&blank))] {
        match bytes {
            None => fs::remove_file(&database).unwrap(),
            Some(bytes) => fs::write(&database, bytes).unwrap(),
        }
        let (code, said) = refused(&data, &[], &[]);
        assert_eq!(code, 1, "{said}");
        for words in ["bulkhead.redb", state, "artifacts/", "backup", "--new-database"] {
            assert!(said.contains(words), "{state}: {said}");
        }
        assert_eq!(count(&host), there, "nothing is swept away");
    }
    // With the database restored, all services exist again.
    fs::write(&database, &kept).unwrap();
    let host = host.kill_and_restart();
    assert_eq!(host.call_admin("GET", "/api/v1/services/echo", b"").json()["state"], "running");
}

#[test]
fn a_new_database_is_begun_where_it_was_asked_for_and_only_where_there_is_none() {
    let mut host = TestHost::start();
    host.deploy("echo", "echo", json!({}));
    let (code, said) = refused(&host.dir().join("data"), &["--new-database"], &[]);
    assert_eq!(code, 1, "{said}");
    terminate(host.pid());
    assert!(host.end().success());
    let data = host.dir().join("data");
    let (code, said) = refused(&data, &["--new-database"], &[]);
    assert!(code == 1 && said.contains("bulkhead.redb exists"), "{said}");
    fs::remove_file(data.join("bulkhead.redb")).unwrap();
    let host = host.restart_with_args(&["--new-database"]);
    let services = host.call_admin("GET", "/api/v1/services", b"").json();
    assert_eq!(services["services"], json!([]));
    assert!(count(&host) > 0, "a file that somebody may still deploy stays for a while");
    host.deploy("echo", "echo", json!({}));
}

/// Returns everything that a data directory records, or the reason why it cannot be read.
fn read(data: &Path) -> Result<Vec<String>, StorageError> {
    let storage = Storage::open(data)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(told(storage.catalog()))
}

async fn told(catalog: &dyn Catalog) -> Result<Vec<String>, StorageError> {
    let records = catalog.records().await?;
    let mut told = Vec::new();
    for record in &records {
        for version in catalog.versions(&record.name).await? {
            told.push(format!("{} {} {}", record.name, record.revision, serde_json::to_string(&version).unwrap()));
        }
    }
    told.extend(catalog.entries(None, None, usize::MAX).await?.iter().map(|entry| format!("{entry:?}")));
    Ok(told)
}

/// Returns damaged copies of the bytes, each with a description.
fn damages(whole: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    const PAGE: usize = 4096;
    let mut dice = Dice::new(9);
    // The beginning contains bytes that no checksum covers.
    let heads = (0..512).map(|at| (at, 0xff)).chain((0..512).map(|at| (at, 1 << (at % 8))));
    let heads = heads.step_by(rounds(7, 1)).map(|(at, flip)| {
        let mut bytes = whole.to_vec();
        bytes[at] ^= flip;
        (format!("byte {at} xor {flip:#x}"), bytes)
    });
    let pages = whole.len() / PAGE;
    let random = (0..rounds(120, 1500)).map(move |_| {
        let (mut bytes, at) = (whole.to_vec(), dice.roll(whole.len()));
        let page = dice.roll(pages) * PAGE;
        let name = match dice.roll(5) {
            0 => {
                bytes[at] ^= 1 << dice.roll(8);
                format!("a flip at {at}")
            }
            1 => {
                bytes[page..page + PAGE].fill(0);
                format!("zeros at {page}")
            }
            2 => {
                bytes.truncate(at);
                format!("cut at {at}")
            }
            3 => {
                let from = dice.roll(pages) * PAGE;
                bytes.copy_within(from..from + PAGE, page);
                format!("the page at {from} again at {page}")
            }
            _ => {
                (page..page + PAGE).for_each(|at| bytes[at] = dice.roll(256) as u8);
                format!("noise at {page}")
            }
        };
        (name, bytes)
    });
    heads.chain(random)
}

#[test]
fn a_damaged_database_is_named_and_never_brings_the_host_down() {
    let mut host = TestHost::start();
    for number in 0..4 {
        host.deploy(
            &format!("svc-{number}"),
            "echo",
            json!({"processor_envs": [{"name": "A", "value": "b".repeat(900)}]}),
        );
    }
    host.call_admin("DELETE", "/api/v1/services/svc-0", b"");
    let killed = {
        host.kill();
        fs::read(host.dir().join("data/bulkhead.redb")).unwrap()
    };
    host = host.kill_and_restart();
    terminate(host.pid());
    assert!(host.end().success());
    let closed = fs::read(host.dir().join("data/bulkhead.redb")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (data, database) = (dir.path().join("data"), dir.path().join("data/bulkhead.redb"));
    fs::create_dir(&data).unwrap();
    let (mut all, mut refusals) = (0, 0);
    for whole in [&killed, &closed] {
        fs::write(&database, whole).unwrap();
        let right = read(&data).unwrap();
        assert!(right.len() > 6, "{right:?}");
        for (damage, bytes) in damages(whole) {
            fs::write(&database, &bytes).unwrap();
            all += 1;
            match read(&data) {
                // The damage may be in unused bytes; then the contents must be unchanged.
                Ok(told) => assert_eq!(told, right, "{damage}: it is read as something else"),
                Err(StorageError::DatabaseDamaged { path, reason }) => {
                    assert!(path.ends_with("bulkhead.redb") && !reason.is_empty(), "{damage}");
                    refusals += 1;
                }
                Err(other) => panic!("{damage}: {other:?}"),
            }
        }
    }
    must(
        "storage.damaged",
        "every one refused by name, or read as it was",
        format!("{refusals} of {all} refused"),
        refusals > all / 5,
    );

    // The whole program refuses a damaged database too: it prints no panic, and its exit code is that of a failed
    // start.
    let mut shown = 0;
    for (damage, bytes) in damages(&closed).step_by(rounds(40, 40)) {
        fs::write(&database, &bytes).unwrap();
        if read(&data).is_err() {
            fs::write(&database, &bytes).unwrap();
            let (code, said) = refused(&data, &[], &[]);
            assert!(
                code == 1 && said.contains("bulkhead.redb") && !said.contains("panicked"),
                "{damage}: {code} {said}"
            );
            shown += 1;
        }
    }
    assert!(shown > 1, "{shown} damages were told");
}

/// A change written to a deleted file would be lost, so the host accepts no change while the file is missing.
#[test]
fn a_database_that_is_moved_away_or_cut_while_the_host_runs_takes_no_change() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let database = host.dir().join("data/bulkhead.redb");
    let aside = host.dir().join("aside");
    let change = |workers: usize| {
        let body = json!({"spec": {"metadata": {"rpc": {"worker_threads": workers}}}}).to_string();
        host.call_admin("PUT", "/api/v1/services/echo", body.as_bytes())
    };
    fs::rename(&database, &aside).unwrap();
    change(2).assert_problem(500, "internal");
    assert!(!database.exists(), "no other one is begun");
    fs::copy(&aside, &database).unwrap();
    change(2).assert_problem(500, "internal");
    for why in ["bulkhead.redb was moved away while the host runs", "bulkhead.redb was replaced while the host runs"] {
        host.wait_for("the log to tell of it", || host.log().contains(why));
    }
    assert_eq!(host.client().post(&echo, b"x").text(), "x", "what is deployed goes on");
    fs::rename(&aside, &database).unwrap();
    assert_eq!(change(2).json()["version"], 2);

    let kept = fs::read(&database).unwrap();
    fs::File::options().write(true).open(&database).unwrap().set_len(8192).unwrap();
    for workers in 3..6 {
        change(workers).assert_problem(500, "internal");
    }
    host.wait_for("the log to tell of it", || host.log().contains("bulkhead.redb was cut off while the host runs"));
    assert_eq!(host.client().post(&echo, b"x").text(), "x", "what is deployed goes on");
    let (code, said) = {
        host.kill();
        refused(&host.dir().join("data"), &[], &[])
    };
    assert!(code == 1 && said.contains("bulkhead.redb is damaged"), "{said}");
    fs::write(&database, kept).unwrap();
    let host = host.kill_and_restart();
    assert_eq!(host.call_admin("GET", "/api/v1/services/echo", b"").json()["version"], 2);
}
