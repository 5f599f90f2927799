//! Tests of `version`, `release`, and `modify --canary`.

use serde_json::{Value, json};

use super::admin;
use crate::cli::failure::Exit;
use crate::cli::mock::{Mock, Reply};

fn changed(canary: &Value) -> Reply {
    let result = json!({ "name": "digits", "url": "http://h/api/predict/digits", "token": "t0k", "version": 2, "canary": canary });
    Reply::events(&[json!({ "event": "progress", "step": "check" }), json!({ "event": "done", "result": result })])
}

#[test]
fn versions_are_columns() {
    let mock = Mock::start(|_| {
        let row = |version: u64, current: bool, weight: Value, note: &str| {
            json!({ "version": version, "created_at": "2026-01-01T00:00:00Z", "current": current, "canary_weight": weight,
                "processor": { "sha256": "0123456789abcdef", "bytes": 8 }, "note": note })
        };
        let rows = [
            row(3, false, json!(10), "changed processor"),
            row(2, true, Value::Null, "changed\ntoken"),
            row(1, false, Value::Null, "created"),
        ];
        Reply::json(200, &json!({ "name": "digits", "current_version": 2, "latest_version": 3, "versions": rows }))
    });
    let ran = admin(&mock, &["version", "digits"]);
    let lines: Vec<_> = ran.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines,
        [
            "VERSION CREATED PROCESSOR STATE NOTE",
            "3 2026-01-01T00:00:00Z 0123456789ab canary, 10 % changed processor",
            "2 2026-01-01T00:00:00Z 0123456789ab current changed token",
            "1 2026-01-01T00:00:00Z 0123456789ab created",
        ],
        "{}",
        ran.err
    );
    assert_eq!(mock.lines(), ["GET /api/v1/services/digits/versions"]);
    let ran = admin(&mock, &["version", "digits", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap()["versions"][2]["note"], "created");
}

#[test]
fn going_back_says_who_answers() {
    let mock = Mock::start(|_| changed(&Value::Null));
    let ran = admin(&mock, &["version", "digits", "2"]);
    let told = "version 2 of service `digits` answers all requests\n";
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, told), "{}", ran.err);
    let sent = mock.seen().pop().unwrap();
    assert_eq!((sent.line().as_str(), sent.json()), ("POST /api/v1/services/digits/version", json!({ "version": 2 })));
    let ran = admin(&mock, &["version", "digits", "2", "--json"]);
    assert!(ran.out.contains("\"version\":2") && !ran.out.contains("t0k"), "{}", ran.out);
    let mock = Mock::start(|_| {
        let result = json!({ "name": "digits", "url": "http://h/api/predict/digits", "token": null, "version": 2,
            "canary": null, "group": "g", "weight": 20, "traffic_state": "grouping" });
        Reply::events(&[json!({ "event": "done", "result": result })])
    });
    assert_eq!(
        admin(&mock, &["release", "digits", "--weight", "20"]).out,
        "version 2 answers all requests that come to service `digits`\n\
         service `digits` has weight 20 in group `g` (grouping)\n"
    );
    for wrong in [["version", "digits", "two"], ["version", "digits", "-1"], ["version", "../x", "1"]] {
        assert_eq!(admin(&mock, &wrong).exit, Exit::Usage, "{wrong:?}");
    }
}

#[test]
fn a_canary_is_deployed_weighed_and_dropped() {
    let mock = Mock::start(|request| match request.method.as_str() {
        "GET" => Reply::json(200, &json!({ "name": "digits" })),
        _ => changed(&json!({ "version": 3, "weight": 10 })),
    });
    let ran = admin(&mock, &["modify", "digits", "-Dmetadata.instance=2", "--canary", "10"]);
    let told = "service `digits` stays version 2; version 3 is a canary with 10 % of the requests\n";
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, told), "{}", ran.err);
    assert_eq!(mock.seen().pop().unwrap().json(), json!({ "spec": { "metadata": { "instance": 2 } }, "canary": 10 }));
    let ran = admin(&mock, &["modify", "digits", "-Dmetadata.instance=2", "--canary", "10", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap()["canary"], json!({ "version": 3, "weight": 10 }));

    let ran = admin(&mock, &["release", "digits", "--weight", "10"]);
    let told = "service `digits` is version 2; version 3 is a canary with 10 % of the requests\n";
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, told), "{}", ran.err);
    let sent = mock.seen().pop().unwrap();
    assert_eq!((sent.line().as_str(), sent.json()), ("POST /api/v1/services/digits/release", json!({ "weight": 10 })));
    assert_eq!(admin(&mock, &["release", "digits", "--abort"]).exit, Exit::Ok);
    assert_eq!(mock.seen().pop().unwrap().json(), json!({ "abort": true }));
    for wrong in [
        &["release", "digits"][..],
        &["release", "digits", "--weight", "1", "--abort"],
        &["release", "digits", "--weight", "x"],
    ] {
        assert_eq!(admin(&mock, wrong).exit, Exit::Usage, "{wrong:?}");
    }
}
