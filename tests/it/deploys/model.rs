//! Checks of a model's file list before anything is built, the same for creation and change.

use serde_json::{Value, json};

use crate::host::TestHost;

#[test]
fn an_entry_or_a_size_that_is_not_the_models_is_refused_by_create_and_modify_alike() {
    let host = TestHost::start();
    let (processor, model) = (host.upload("echo"), host.upload_bytes(b"model"));
    let spec = |name: &str, entry: &str| json!({"name": name, "processor_path": "x.wasm", "model_path": "m", "model_entry": entry});
    let files = |size: u64| json!([{"path": "a/m.bin", "sha256": model, "size": size}]);
    let send = |method: &str, path: &str, body: Value| host.call_admin(method, path, body.to_string().as_bytes());
    let good = json!({"spec": spec("good", "a/m.bin"), "processor": processor, "model": files(5)});
    assert_eq!(send("POST", "/api/v1/services", good).status, 201);

    let not_there = "\"b.bin\" is not in the model, which has a/m.bin";
    let wrong_size = "6 for \"a/m.bin\", which has 5 bytes";
    for (entry, size, path, message) in
        [("b.bin", 5, "model_entry", not_there), ("a/m.bin", 6, "model[0].size", wrong_size)]
    {
        let create = json!({"spec": spec("new", entry), "processor": processor, "model": files(size)});
        let modify = json!({"spec": {"model_entry": entry}, "model": files(size)});
        for answer in [send("POST", "/api/v1/services", create), send("PUT", "/api/v1/services/good", modify)] {
            let problem = answer.assert_problem(400, "invalid_service_file");
            assert_eq!(problem["errors"], json!([{"path": path, "message": message}]), "{problem}");
        }
    }
    // The existing model is checked as well.
    let answer = send("PUT", "/api/v1/services/good", json!({"spec": {"model_entry": "b.bin"}}));
    answer.assert_problem(400, "invalid_service_file");
    for directory in ["a", "a/m.bin"] {
        assert_eq!(send("PUT", "/api/v1/services/good", json!({"spec": {"model_entry": directory}})).status, 200);
    }
    assert_eq!(host.call_admin("GET", "/api/v1/services/new", b"").status, 404);
}
