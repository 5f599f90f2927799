//! The Rust client against a real host: the errors that the caller sees, the number of requests that the host saw, and
//! the outcomes that it counted. Server faults on the wire are tested in `client/tests/transport.rs`.

use std::time::Duration;

use bulkhead_client::{Client, ClientBuilder, Compressor, Condition, Error, Fault, Request, RetryPolicy};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::figures;
use crate::host::TestHost;

const SHORT: Duration = Duration::from_millis(5);

/// A host whose services have separate counts of outcomes.
struct Scene {
    host: TestHost,
    runtime: Runtime,
}

impl Scene {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self { host: TestHost::start(), runtime: runtime.expect("a runtime") }
    }

    /// Returns the settings of a client that signs with the service's token, like the official SDKs.
    fn deploy(&self, name: &str, guest: &str, keys: Value) -> ClientBuilder {
        let deployed = self.host.deploy(name, guest, keys);
        self.builder(name).token(&deployed.token)
    }

    fn builder(&self, service: &str) -> ClientBuilder {
        let quick = RetryPolicy::new(2).pauses(SHORT, SHORT);
        Client::builder(&format!("http://{}", self.host.data), service).retry(quick).timeout(Duration::from_secs(10))
    }

    fn call(&self, builder: ClientBuilder, request: &Request) -> Result<String, Error> {
        let client = builder.build()?;
        self.runtime.block_on(client.call(request)).and_then(|response| Ok(response.text()?.to_owned()))
    }

    fn ask(&self, builder: ClientBuilder, deed: &Value) -> Result<String, Error> {
        self.call(builder, &Request::new(deed.to_string()))
    }

    /// Returns the number of a service's requests that ended with this status.
    fn ended(&self, service: &str, status: u16) -> u64 {
        self.host.metric(&format!("bulkhead_requests_total{{service=\"{service}\",status=\"{status}\"}}"))
    }

    fn accepted(&self, service: &str) -> u64 {
        self.host.metric(&format!("bulkhead_requests_accepted_total{{service=\"{service}\"}}"))
    }
}

/// The expected result of a call.
struct Row {
    outcome: &'static str,
    result: Result<String, Error>,
    service: &'static str,
    status: u16,
    code: &'static str,
    requests: u64,
}

impl Row {
    /// Returns an error with the difference from the expected result.
    fn check(&self, scene: &Scene) -> Result<(), String> {
        scene.host.wait_for("the requests to be settled", || scene.ended(self.service, self.status) >= self.requests);
        let seen = (scene.accepted(self.service), scene.ended(self.service, self.status));
        if seen != (self.requests, self.requests) {
            return Err(format!("{}: {seen:?} requests were seen and ended so", self.outcome));
        }
        let told = match &self.result {
            Ok(_) => (200, ""),
            Err(error) => (error.code(), error.server_code().unwrap_or("")),
        };
        if told != (self.status, self.code) {
            return Err(format!("{}: told {told:?}: {:?}", self.outcome, self.result));
        }
        let is_problem = !self.code.is_empty();
        let refused = self.result.as_ref().err().and_then(Error::refused);
        match refused {
            Some(refused) if is_problem && (refused.detail.is_empty() || refused.request_id.is_none()) => {
                Err(format!("{}: it does not say why: {refused:?}", self.outcome))
            }
            _ => Ok(()),
        }
    }
}

#[test]
fn every_outcome_is_told_with_its_code_and_asked_for_as_often_as_it_may_be() {
    let scene = Scene::new();
    let faults = |name: &str, keys: Value| scene.deploy(name, "faults", keys);
    let echo = |name: &str, keys: Value| scene.deploy(name, "echo", keys);
    let body = Request::new("hello");
    let own = |status: u16| json!({"do": "status", "status": status, "message": "so"});
    let row =
        |outcome, service, status, code, requests, result| Row { outcome, result, service, status, code, requests };

    let stopped = echo("r503", json!({}));
    assert_eq!(scene.host.call_admin("POST", "/api/v1/services/r503/stop", b"").status, 200);

    let rows = [
        row("signed", "signed", 200, "", 1, scene.call(echo("signed", json!({})), &body)),
        row("raw token", "raw", 200, "", 1, {
            echo("raw", json!({"token": "tok"}));
            scene.call(scene.builder("raw").raw_token("tok"), &body)
        }),
        row("bearer", "bearer", 200, "", 1, {
            echo("bearer", json!({"token": "tok"}));
            scene.call(scene.builder("bearer").bearer_token("tok"), &body)
        }),
        row("signed with path and query", "target", 200, "", 1, {
            scene.call(echo("target", json!({})), &Request::new("x").path("/v1/a%20b").query("uid=a+b&x=%2F"))
        }),
        row("open to all", "open", 200, "", 1, {
            echo("open", json!({"generate_token": false}));
            scene.call(scene.builder("open"), &body)
        }),
        row("the processor's 422", "r422", 422, "", 1, scene.ask(faults("r422", json!({})), &own(422))),
        row("the processor's 500", "r500", 500, "", 1, scene.ask(faults("r500", json!({})), &own(500))),
        row("the processor's 500, repeated when asked for", "r500x", 500, "", 3, {
            let policy = RetryPolicy::new(2).pauses(SHORT, SHORT).on(Condition::ALL);
            scene.ask(faults("r500x", json!({})).retry(policy), &own(500))
        }),
        row("a panic", "r400", 400, "processor_exception", 1, {
            scene.ask(faults("r400", json!({})), &json!({"do": "panic", "message": "out of cheese"}))
        }),
        row("out of fuel", "fuel", 400, "fuel_exhausted", 1, {
            scene.call(echo("fuel", json!({"sandbox": {"fuel": 1}})), &body)
        }),
        row("another token", "r401", 401, "unauthorized", 1, scene.call(echo("r401", json!({})).token("no"), &body)),
        row("nobody of that name", "", 404, "service_not_found", 1, scene.call(scene.builder("nobody"), &body)),
        row("another method", "r405", 405, "method_not_allowed", 1, {
            let request = Request::new("").method(http::Method::GET);
            scene.call(echo("r405", json!({"sandbox": {"methods": ["POST"]}})), &request)
        }),
        row("overdue", "r408", 408, "deadline_exceeded", 1, {
            scene.ask(faults("r408", json!({"metadata": {"rpc": {"keepalive": 200}}})), &json!({"do": "loop"}))
        }),
        row("too large", "r413", 413, "body_too_large", 1, {
            let service = echo("r413", json!({"sandbox": {"max_request_bytes": 100}}));
            scene.call(service, &Request::new(vec![b'x'; 101]))
        }),
        row("stopped, tried again", "r503", 503, "no_healthy_upstream", 3, scene.call(stopped, &body)),
    ];
    let wrong: Vec<String> = rows.iter().filter_map(|row| row.check(&scene).err()).collect();
    let met = format!("{} of {}", rows.len() - wrong.len(), rows.len());
    figures::must(
        "client.outcomes",
        "every call told with its code, and made as often as it may be",
        met,
        wrong.is_empty(),
    );

    // `Retry-After: 1` exceeds the longest pause of these tests, so the client returns the refusal to its caller.
    let service = echo("r429", json!({"metadata": {"rpc": {"rate_limit": 1}}}));
    let limited = std::iter::repeat_with(|| scene.call(service.clone(), &body)).take(100).find_map(Result::err);
    let limited = limited.expect("one of many is refused");
    assert_eq!((limited.code(), limited.server_code(), scene.ended("r429", 429)), (429, Some("rate_limited"), 1));
    assert_eq!(limited.refused().and_then(|refused| refused.retry_after), Some(Duration::from_secs(1)));
}

#[test]
fn a_full_queue_is_waited_out_and_nothing_is_done_twice() {
    let scene = Scene::new();
    let keys = json!({"metadata": {"rpc": {"worker_threads": 1, "max_queue_size": 0}}});
    let service = scene.deploy("busy", "faults", keys);
    let asleep = service.clone().build().unwrap();
    let sleeper = scene.runtime.spawn(async move {
        let deed = json!({"do": "sleep", "ms": 400}).to_string();
        asleep.predict(deed).await
    });
    scene.host.wait_for("the worker to be busy", || {
        scene.host.metric("bulkhead_workers_busy{service=\"busy\",instance=\"0\"}") == 1
    });
    let impatient = service.clone().retry(RetryPolicy::none());
    let refused = scene.ask(impatient, &json!({"do": "flag"})).unwrap_err();
    assert_eq!((refused.code(), refused.server_code()), (450, Some("queue_full")));
    assert_eq!(scene.ended("busy", 450), 1);
    // The retries last much longer than the sleeping call, and the host counts each refused try as one 450.
    let patient = service.retry(RetryPolicy::new(1000).pauses(Duration::from_millis(20), Duration::from_millis(20)));
    let answer = scene.ask(patient, &json!({"do": "flag"})).unwrap();
    scene.runtime.block_on(sleeper).unwrap().unwrap();
    // The guest counts its calls: the sleep and this one.
    assert_eq!(answer, json!({"calls": 2}).to_string());
    assert_eq!(scene.ended("busy", 200), 2);
    assert!(scene.ended("busy", 450) > 1, "it was refused at least once more");
    assert_eq!(scene.accepted("busy"), 2 + scene.ended("busy", 450));
}

#[test]
fn a_time_out_of_the_client_is_a_499_of_the_host_and_not_repeated() {
    let scene = Scene::new();
    let service = scene.deploy("slow", "faults", json!({"metadata": {"rpc": {"worker_threads": 1}}}));
    let hasty = service.clone().timeout(Duration::from_millis(150));
    let error = scene.ask(hasty.clone(), &json!({"do": "sleep", "ms": 60_000})).unwrap_err();
    assert!(matches!(&error, Error::Transport(transport) if transport.fault == Fault::ReadTimeout), "{error}");
    assert!(error.code() == 512 && error.is_timeout() && error.may_have_been_processed());
    scene.host.wait_for("the host to notice", || scene.ended("slow", 499) == 1);
    // A caller may request retries on time-outs, as in the official SDKs.
    let policy = RetryPolicy::new(2).pauses(SHORT, SHORT).on([Condition::ReadTimeout]);
    scene.ask(hasty.retry(policy), &json!({"do": "sleep", "ms": 60_000})).unwrap_err();
    scene.host.wait_for("the host to notice", || scene.ended("slow", 499) == 4);
    scene.ask(service, &json!({"do": "sleep", "ms": 1})).expect("the worker is free again");
    assert_eq!(scene.accepted("slow"), 5);
}

#[test]
fn a_host_that_ends_in_the_middle_of_an_answer_is_told_and_the_request_not_repeated() {
    let scene = Scene::new();
    let service = scene.deploy("cut", "faults", json!({})).build().unwrap();
    let call =
        scene.runtime.spawn(async move { service.predict(json!({"do": "sleep", "ms": 60_000}).to_string()).await });
    scene.host.wait_for("the call to be at work", || {
        scene.host.metric("bulkhead_workers_busy{service=\"cut\",instance=\"0\"}") == 1
    });
    scene.host.kill();
    let error = scene.runtime.block_on(call).unwrap().unwrap_err();
    assert!(matches!(&error, Error::Transport(transport) if transport.fault == Fault::BrokenOff), "{error}");
    let Scene { host, .. } = scene;
    let host = host.kill_and_restart();
    assert_eq!(host.metric("bulkhead_requests_accepted_total{service=\"cut\"}"), 0, "nobody came again");
}

#[test]
fn connections_are_kept_and_those_the_host_closes_cost_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let scene = Scene { host: TestHost::start_with(&["--max-requests-per-connection", "10"], ""), runtime };
    let client = scene.deploy("echo", "echo", json!({})).retry(RetryPolicy::none()).build().unwrap();
    scene.runtime.block_on(async {
        for turn in 0..95 {
            let body = turn.to_string();
            assert_eq!(client.predict_string(body.clone()).await.unwrap(), body);
        }
    });
    assert_eq!(scene.ended("echo", 200), 95);
}

#[test]
fn tensors_come_back_as_they_were_sent() {
    use bulkhead_client::bulkhead_tensors::{Tensor, onnx, torch};

    let scene = Scene::new();
    let client = scene.deploy("echo", "echo", json!({})).build().unwrap();
    let tensor = Tensor::new(&[2, 2], vec![1.0_f32, -2.5, 0.0, 4.0]).unwrap();
    scene.runtime.block_on(async {
        // A PyTorch request begins like its response, and ONNX has one message for both, so an echo is a valid answer.
        let answer = client.predict_torch(torch::Request::default().with_input(tensor.clone())).await.unwrap();
        assert_eq!(answer.output(0).unwrap(), &tensor);
        let answer = client.predict_onnx(onnx::Message::default().with("x", tensor.clone())).await.unwrap();
        assert_eq!(answer.tensor("x").unwrap(), &tensor);
    });
    let faults = scene.deploy("faults", "faults", json!({})).build().unwrap();
    let declined = scene.runtime.block_on(faults.predict_torch(torch::Request::default())).unwrap_err();
    assert_eq!(declined.code(), 422);
    let senseless = scene.deploy("text", "faults", json!({})).build().unwrap();
    let deed = json!({"do": "status", "status": 200, "message": "no tensors", "as": "response"});
    let answer = scene.runtime.block_on(senseless.predict(deed.to_string())).unwrap();
    assert!(torch::Response::decode(&answer.body).is_err());
}

#[test]
fn compressed_bodies_arrive_plain() {
    use Compressor::{Gzip, Lz4Block, Lz4Frame, Snappy, Zlib, Zstd};

    let scene = Scene::new();
    let body = "a row of numbers, ".repeat(2000);
    for (compressor, decompressor) in
        [(Gzip, "gzip"), (Zlib, "zlib"), (Snappy, "snappy"), (Zstd, "zstd"), (Lz4Frame, "lz4"), (Lz4Block, "lz4")]
    {
        let name = format!("{compressor:?}").to_lowercase();
        let keys = json!({"metadata": {"rpc": {"decompressor": decompressor}}});
        let service = scene.deploy(&name, "echo", keys).compressor(compressor);
        // The signature covers the compressed body, which the host checks.
        assert_eq!(scene.call(service, &Request::new(body.clone())).unwrap(), body, "{compressor:?}");
    }
    let mistaken = scene.deploy("mistaken", "echo", json!({"metadata": {"rpc": {"decompressor": "zstd"}}}));
    let refused = scene.call(mistaken.compressor(Gzip), &Request::new(body)).unwrap_err();
    assert_eq!((refused.code(), refused.server_code()), (400, Some("bad_request")), "{refused}");
}

#[test]
fn direct_mode_finds_the_service_and_goes_to_it() {
    let scene = Scene::new();
    let service = scene.deploy("echo", "echo", json!({})).direct();
    let client = service.build().unwrap();
    scene.runtime.block_on(async {
        for _ in 0..5 {
            assert_eq!(client.predict_string("x").await.unwrap(), "x");
        }
    });
    assert_eq!(scene.ended("echo", 200), 5);
    let hasty = scene.builder("nobody").direct().timeout(Duration::from_millis(300));
    let unknown = scene.call(hasty, &Request::new("x")).unwrap_err();
    assert_eq!(unknown.code(), 510, "{unknown}");
}

#[test]
fn threads_that_do_not_wait_asynchronously_share_a_client() {
    let scene = Scene::new();
    let client = scene.deploy("echo", "echo", json!({})).max_connections(2).build().unwrap();
    let client = bulkhead_client::blocking::Client::new(client).unwrap();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let client = &client;
            scope.spawn(move || {
                for turn in 0..10 {
                    let body = format!("{number}.{turn}");
                    assert_eq!(client.predict_string(body.clone()).unwrap(), body);
                }
            });
        }
    });
    assert_eq!(scene.ended("echo", 200), 40);
}
