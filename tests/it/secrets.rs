//! Secrets stay where they belong, and cannot be guessed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use bulkhead::auth::is_token;
use bulkhead::config::Token;
use serde_json::json;

use crate::figures;
use crate::host::{TestHost, binary};
use crate::http::{Client, request};

const TOKEN: &str = "canary-token-4711";
const GUESS: &str = "canary-guess-4712";
const BODY: &str = "canary-body-4713";
const CANARIES: [&str; 3] = [TOKEN, GUESS, BODY];

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

/// Returns the places whose bytes contain a canary.
fn hits<'a>(places: impl Iterator<Item = (String, &'a [u8])>) -> Vec<String> {
    let mut found = Vec::new();
    for (place, bytes) in places {
        for canary in CANARIES {
            if memchr::memmem::find(bytes, canary.as_bytes()).is_some() {
                found.push(format!("{canary} in {place}"));
            }
        }
    }
    found
}

#[test]
fn a_token_and_a_body_are_nowhere_but_in_the_hosts_database_and_the_guests_memory() {
    for format in ["text", "json"] {
        let host = TestHost::start_talkative(&["--log-format", format]);
        let keys = json!({"token": TOKEN, "metadata": {"rpc": {"worker_threads": 1, "keepalive": 300}},
            "sandbox": {"max_request_bytes": 1000, "expose": ["timing", "fuel", "stack"]}});
        let service = host.deploy("faults", "faults", keys.clone());
        host.deploy("echo", "echo", keys);
        let mut told: Vec<(String, Vec<u8>)> = Vec::new();
        let mut call = |what: &str, authorization: &str, body: &str| {
            let headers = [("authorization", authorization), ("x-secret", BODY), ("cookie", BODY)];
            let response = host.client().send("POST", &service.path, &headers, body.as_bytes());
            told.push((format!("the answer to {what}, {}", response.status), format!("{response:?}").into_bytes()));
        };
        for deed in ["panic", "trap", "loop", "recurse", "flag", "alloc"] {
            call(deed, TOKEN, &format!("{{\"do\":\"{deed}\"}}"));
        }
        call("what it does not understand", TOKEN, BODY);
        call("a guess", GUESS, BODY);
        call("a signature", &format!("EAS {GUESS}"), BODY);
        call("two words", &format!("{GUESS} {TOKEN}"), BODY);
        call("too much", TOKEN, &BODY.repeat(100));
        let broken = format!("POST {} HTTP/1.1\r\nauthorization {TOKEN}\r\n\r\n{BODY}", service.path);
        for bytes in [broken.clone(), broken.replace("HTTP/1.1", "HTTP/3.0"), broken.replace("POST", TOKEN)] {
            let mut client = host.client();
            client.try_write(bytes.as_bytes());
            told.push(("the answer to broken bytes".into(), format!("{:?}", client.read("POST")).into_bytes()));
        }
        // A request that the client does not finish.
        let whole = request("POST", &service.path, &[("authorization", TOKEN)], BODY.as_bytes());
        host.client().write(&whole[..whole.len() - 1]);
        let admin = Client::connect(host.admin).send("GET", "/api/v1/services", &[("authorization", GUESS)], b"");
        told.push(("the admin's refusal".into(), format!("{admin:?}").into_bytes()));
        told.push(("the list".into(), host.call_admin("GET", "/api/v1/services", b"").body));
        told.push(("the metrics".into(), host.get_admin("/metrics").body));
        let left = "bulkhead_requests_total{service=\"faults\",status=\"499\"}";
        host.wait_for("the one that left", || host.metric(left) == 1);
        host.wait_for("the log to have it", || host.log().contains("client_closed"));
        told.push(("the log".into(), host.log().into_bytes()));
        for file in files_below(&host.dir().join("data")) {
            // The database must store the token, because a signature cannot be verified without it.
            if file.file_name().is_none_or(|name| name != "bulkhead.redb") {
                told.push((file.display().to_string(), fs::read(&file).unwrap()));
            }
        }
        let found = hits(told.iter().map(|(place, bytes)| (place.clone(), bytes.as_slice())));
        figures::must(&format!("secrets.canary_hits.{format}"), "0", json!(found), found.is_empty());
    }
}

#[test]
fn what_is_on_disk_is_the_hosts_alone() {
    use std::os::unix::fs::PermissionsExt;
    let host = TestHost::start();
    host.deploy("echo", "echo", json!({"token": TOKEN}));
    let data = host.dir().join("data");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for secret in ["bulkhead.redb", "admin.token"] {
        assert_eq!(mode(&data.join(secret)), 0o600, "{secret}");
    }
}

/// Regression test: the host did not change the permissions of an existing data directory that was open to all users.
#[test]
fn what_others_could_get_at_in_the_data_directory_is_closed_to_them() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir_all(data.join("artifacts")).unwrap();
    fs::write(data.join("admin.token"), "an-operators-own-token").unwrap();
    for (path, mode) in [(data.clone(), 0o777), (data.join("artifacts"), 0o775), (data.join("admin.token"), 0o644)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let host = TestHost::start_in_dir(dir);
    let data = host.dir().join("data");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for (name, closed) in [("artifacts", 0o700), ("models", 0o700), ("compiled", 0o700), ("admin.token", 0o600)] {
        assert_eq!(mode(&data.join(name)), closed, "{name}");
    }
    for told in ["0777", "0775", "0644"] {
        host.wait_for(told, || host.log().lines().any(|line| line.contains("WARN") && line.contains(told)));
    }
}

/// The host refuses such a directory, because the other user could open it again at any moment.
#[test]
fn a_data_directory_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        figures::tell("secrets.foreign_directory", "refused", "skipped: only root can give a directory away", true);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(dir.path(), Some(65534), None).unwrap();
    let mut serve = Command::new(binary());
    serve.arg("serve").arg("--data").arg(dir.path()).args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let mut process = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    // The host ends before it prints its addresses.
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut said).unwrap();
    if !said.is_empty() {
        let _ = process.kill();
    }
    let output = process.wait_with_output().unwrap();
    said += &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("belongs to user 65534") && said.contains("--data"), "{said}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn s429_for_an_address_that_guesses() {
    let host = TestHost::start_with(&["--max-failed-logins-per-address", "3"], "");
    let echo = host.deploy("echo", "echo", json!({"token": TOKEN}));
    let open = host.deploy("open", "echo", json!({"generate_token": false}));
    let guess = |token: &str| host.client().send("POST", &echo.path, &[("authorization", token)], b"x");
    // Three guesses per second fail with 401. A new second may begin between two guesses. Then three more guesses get
    // 401.
    let refused = (0..7).map(|_| guess(GUESS)).find(|response| response.status == 429).expect("it was refused");
    refused.assert_problem(429, "rate_limited");
    assert_eq!((refused.header("retry-after"), refused.closes()), (Some("1"), false));
    let right = guess(TOKEN);
    assert!(matches!(right.status, 429 | 200), "the right token is told from a wrong one only in the next second");
    assert_eq!(host.client().send("POST", &open.path, &[], b"x").status, 200, "where no token is asked for");
    host.wait_for("the next second", || guess(TOKEN).status == 200);
}

#[test]
fn the_admin_listener_stops_who_guesses() {
    let host = TestHost::start();
    let guess = || Client::connect(host.admin).send("GET", "/api/v1/services", &[("authorization", GUESS)], b"");
    let refused = (0..21).map(|_| guess()).find(|response| response.status == 429).expect("it was refused");
    assert_eq!(refused.json()["code"], "rate_limited");
    assert!(refused.header("retry-after").is_some());
    host.wait_for("the next second", || host.call_admin("GET", "/api/v1/services", b"").status == 200);
}

/// Computes Welch's t for the times of comparing the right token with tokens that share no byte with it, or all but the
/// last.
#[test]
fn comparing_takes_as_long_however_much_is_right() {
    let token = Token::parse(&"k".repeat(40)).unwrap();
    let (far, near) = ("x".repeat(40), format!("{}x", "k".repeat(39)));
    assert!(!is_token(&token, far.as_bytes()) && !is_token(&token, near.as_bytes()));
    let mut times = [Vec::new(), Vec::new()];
    // Both candidates use the same memory, in random order, so that neither has a warmer cache or a quieter moment.
    let (mut candidate, mut random) = ([0; 40], fastrand::Rng::with_seed(7));
    for _ in 0..figures::rounds(40_000, 800_000) {
        let which = random.usize(..2);
        candidate.copy_from_slice([&far, &near][which].as_bytes());
        let began = Instant::now();
        for _ in 0..8 {
            std::hint::black_box(is_token(&token, std::hint::black_box(&candidate)));
        }
        times[which].push(began.elapsed().as_nanos() as f64);
    }
    let [(mean_a, share_a), (mean_b, share_b)] = times.map(|mut times| {
        // Times lengthened by interrupts are left out.
        times.sort_unstable_by(f64::total_cmp);
        times.truncate(times.len() * 9 / 10);
        let count = times.len() as f64;
        let mean = times.iter().sum::<f64>() / count;
        let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    });
    let t = (mean_a - mean_b) / (share_a + share_b).sqrt();
    figures::tell("secrets.compare_welch_t", "|t| < 4.5", (t * 100.0).round() / 100.0, t.abs() < 4.5);
}

#[test]
fn names_cannot_leave_the_data_directory() {
    let host = TestHost::start();
    let before = files_below(host.dir());
    let sha256 = "ab".repeat(32);
    for name in [
        "../x",
        "..",
        ".",
        "a/b",
        "a\\b",
        "%2e%2e",
        "..%2fx",
        "//x",
        "a\0b",
        "a%00",
        "A",
        "ü",
        "a.b",
        "-a",
        "a-",
        "",
        &"a".repeat(300),
    ] {
        let spec = json!({"spec": {"name": name, "processor_path": "x.wasm"}, "processor": sha256}).to_string();
        let answer = host.call_admin("POST", "/api/v1/services", spec.as_bytes());
        assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some("invalid_service_file")), "{name:?}");
    }
    for path in [
        "/api/v1/services/..%2f..%2fadmin.token",
        "/api/v1/services/../../admin.token",
        "/api/v1/artifacts/../admin.token",
        "/api/v1/artifacts/..%2fadmin.token",
        "/api/v1/artifacts/%00",
    ] {
        let answer = host.call_admin("GET", path, b"");
        assert!(matches!(answer.status, 400 | 404) && !answer.text().contains(&host.admin_token), "{path}");
    }
    let echo = host.upload("echo");
    for path in ["../x", "/etc/x", "a/../../x", "a\\..\\x", "", "."] {
        let model = json!([{"path": path, "sha256": echo, "size": 1}]);
        let body = json!({"spec": {"name": "m", "processor_path": "x.wasm"}, "processor": echo, "model": model});
        assert_eq!(host.call_admin("POST", "/api/v1/services", body.to_string().as_bytes()).status, 400, "{path:?}");
    }
    let made: Vec<_> = files_below(host.dir()).into_iter().filter(|path| !before.contains(path)).collect();
    assert_eq!(made, [host.dir().join("data/artifacts").join(&echo)], "nothing but the upload");
}
