use super::*;
use bulkhead_guest::Request;
use serde_json::Value;

fn faults() -> Faults {
    Faults::initialize(&Model::default()).unwrap()
}

fn configured(config: &str) -> Result<Faults, Error> {
    Faults::initialize(&Model { config: config.to_owned(), ..Model::default() })
}

fn ask(faults: &mut Faults, body: &Value) -> Result<Response, Error> {
    faults.process(Request::post(body.to_string()))
}

fn json(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

#[test]
fn an_unknown_deed_is_refused_with_the_known_ones() {
    let error = ask(&mut faults(), &json!({ "do": "nothing" })).unwrap_err();
    assert_eq!(error.status(), 422);
    assert!(error.message().contains("unknown variant `nothing`"));
    assert!(error.message().contains("`panic`"));
}

#[test]
#[should_panic(expected = "out of cheese")]
fn panic_carries_its_message() {
    let _ = ask(&mut faults(), &json!({ "do": "panic", "message": "out of cheese" }));
}

#[test]
fn a_status_goes_out_as_an_error_or_as_a_response() {
    let body = json!({ "do": "status", "status": 418, "message": "teapot" });
    let error = ask(&mut faults(), &body).unwrap_err();
    assert_eq!((error.status(), error.message()), (418, "teapot"));

    let body = json!({ "do": "status", "status": 201, "message": "made", "as": "response" });
    let response = ask(&mut faults(), &body).unwrap();
    assert_eq!((response.status, response.body), (201, b"made".to_vec()));
}

#[test]
fn headers_go_out_unchecked() {
    let body = json!({ "do": "headers", "headers": [["a b", "\r\n"]], "status": 299, "body": "hi" });
    let response = ask(&mut faults(), &body).unwrap();
    assert_eq!(response.status, 299);
    assert_eq!(response.headers, [("a b".to_owned(), "\r\n".to_owned())]);
    assert_eq!(response.body, b"hi");
}

#[test]
fn an_instance_counts_its_calls() {
    let mut faults = faults();
    let flag = json!({ "do": "flag" });
    assert_eq!(json(&ask(&mut faults, &flag).unwrap()), json!({ "calls": 1 }));
    assert_eq!(json(&ask(&mut faults, &flag).unwrap()), json!({ "calls": 2 }));
}

#[test]
fn work_is_done_to_the_measure_asked_for() {
    let mut faults = faults();
    let alloc = ask(&mut faults, &json!({ "do": "alloc", "mib": 2 })).unwrap();
    assert_eq!(json(&alloc), json!({ "mib": 2 }));
    let body = ask(&mut faults, &json!({ "do": "body", "bytes": 1000 })).unwrap();
    assert_eq!(body.body.len(), 1000);
    let log = ask(&mut faults, &json!({ "do": "log", "lines": 2, "bytes": 10 })).unwrap();
    assert_eq!(json(&log), json!({ "lines": 2 }));
    let sleep = ask(&mut faults, &json!({ "do": "sleep", "ms": 1 })).unwrap();
    assert_eq!(json(&sleep), json!({ "slept_ms": 1 }));
}

#[test]
fn burning_depends_on_the_rounds() {
    let mut faults = faults();
    let one = json(&ask(&mut faults, &json!({ "do": "burn", "rounds": 1 })).unwrap());
    let two = json(&ask(&mut faults, &json!({ "do": "burn", "rounds": 2 })).unwrap());
    assert_ne!(one, two);
}

#[test]
fn inspect_tells_what_a_processor_sees() {
    let request = Request::post(json!({ "do": "inspect" }).to_string())
        .with_path("/v1")
        .with_query("a=1")
        .with_header("x-tenant", "blue")
        .with_request_id("r-1")
        .with_remaining(Duration::from_millis(250));
    let seen = json(&configured("{}").unwrap().process(request).unwrap());
    assert_eq!(seen["path"], "/v1");
    assert_eq!(seen["query"], "a=1");
    assert_eq!(seen["headers"], json!([["x-tenant", "blue"]]));
    assert_eq!(seen["request_id"], "r-1");
    assert_eq!(seen["remaining_ms"], 250);
    assert_eq!(seen["model"]["config"], "{}");
}

#[test]
fn inspect_lists_the_model_directory() {
    let look_into = |dir: &str| {
        let model = Model { dir: Some(dir.into()), ..Model::default() };
        let mut faults = Faults::initialize(&model).unwrap();
        json(&ask(&mut faults, &json!({ "do": "inspect" })).unwrap())["model"]["files"].clone()
    };
    let sources = look_into(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    assert_eq!(
        sources,
        json!(["deed.rs", "inspect.rs", "lib.rs", "outside.rs", "strain.rs", "streaming.rs", "tests.rs"])
    );
    assert!(look_into("/absent")["error"].is_string());
}

#[test]
fn model_config_spoils_initialize() {
    assert!(configured("{\"initialize\": \"ok\"}").is_ok());
    let error = configured("{\"initialize\": \"fail\"}").err().unwrap();
    assert!(error.message().contains("because model_config says so"));
    assert!(configured("{\"initialise\": \"ok\"}").is_err());
    assert!(configured("{\"initialize\": \"model\"}").is_err());
    let dir = Some(concat!(env!("CARGO_MANIFEST_DIR"), "/src").into());
    let model = |entry: &str| Model {
        dir: dir.clone(),
        entry: Some(entry.to_owned()),
        config: "{\"initialize\": \"model\"}".to_owned(),
    };
    assert!(Faults::initialize(&model("lib.rs")).is_ok());
    assert!(Faults::initialize(&model("absent")).is_err());
}
