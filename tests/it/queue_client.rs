//! The Rust client and the queues of a real host.

use std::time::Duration;

use bulkhead_client::queue::{Get, Item, Queue, Watch};
use bulkhead_client::{Client, Compressor, RetryPolicy, blocking};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::host::TestHost;

const LONG: Duration = Duration::from_secs(20);

struct Scene {
    host: TestHost,
    runtime: Runtime,
}

impl Scene {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self { host: TestHost::start(), runtime: runtime.expect("a runtime") }
    }

    /// Deploys an asynchronous service, and signs with its token.
    fn deploy(&self, guest: &str, keys: Value) -> Client {
        let mut settings = json!({"metadata": {"type": "Async"}});
        for (key, value) in keys.as_object().expect("an object") {
            settings[key] = value.clone();
        }
        let deployed = self.host.deploy("svc", guest, settings);
        self.client(&deployed.token)
    }

    fn client(&self, token: &str) -> Client {
        let builder = Client::builder(&format!("http://{}", self.host.data), "svc").token(token);
        builder.retry(RetryPolicy::none()).build().expect("a client")
    }

    fn stop(&self) {
        assert_eq!(self.host.call_admin("POST", "/api/v1/services/svc/stop", b"").status, 200);
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    fn drop_items(&self) {
        assert_eq!(self.host.call_admin("DELETE", "/api/v1/services/svc?drop_items=true", b"").status, 200);
    }
}

/// Gets the result of a request.
async fn result(sink: &Queue, request_id: &str) -> Option<bulkhead_client::queue::Entry> {
    sink.get(&Get::new().request_id(request_id).timeout(LONG)).await.expect("an answer").pop()
}

#[test]
fn an_item_goes_in_and_its_result_comes_out() {
    let scene = Scene::new();
    let client = scene.deploy("echo", json!({}));
    scene.run(async {
        let (queue, sink) = (client.queue(), client.sink());
        let put = queue.put(&Item::new("hello").tag("a b", "c&d")).await.unwrap();
        assert_eq!((put.index, put.repeated), (1, false));
        let result = result(&sink, &put.request_id).await.expect("a result");
        assert_eq!((result.status(), &*result.data, result.tags["a b"].as_str()), (200, &b"hello"[..], "c&d"));
        assert_eq!(result.request_id(), Some(put.request_id.as_str()));
        // It is removed, and there is nothing else.
        assert_eq!(sink.get(&Get::new()).await.unwrap(), []);
        assert_eq!(queue.search(put.index).await.unwrap(), None);

        let named = Item::new("once").idempotency_key("order-7");
        let (first, again) = (queue.put(&named).await.unwrap(), queue.put(&named).await.unwrap());
        assert_eq!((first.index, again.index, again.repeated), (2, 2, true));
        let other = queue.put(&Item::new("twice").idempotency_key("order-7")).await.unwrap_err();
        assert_eq!(other.code(), 409, "{other}");
    });
    scene.drop_items();
}

#[test]
fn a_path_and_headers_reach_the_processor_and_a_status_comes_back() {
    let scene = Scene::new();
    let client = scene.deploy("faults", json!({}));
    scene.run(async {
        let item =
            Item::new(r#"{"do":"status","status":422,"message":"no"}"#).path("v1").content_type("application/json");
        let put = client.queue().put(&item).await.unwrap();
        let result = result(&client.sink(), &put.request_id).await.expect("a result");
        assert_eq!(result.status(), 422, "{result:?}");
    });
}

#[test]
fn items_are_searched_deleted_truncated_and_the_queue_ended() {
    let scene = Scene::new();
    let client = scene.deploy("echo", json!({"queue": {"length": 50}}));
    scene.stop();
    scene.run(async {
        let queue = client.queue();
        for priority in [0, 0, 5, 0] {
            queue.put(&Item::new("x").priority(priority)).await.unwrap();
        }
        let attributes = queue.attributes().await.unwrap();
        assert_eq!((attributes["stream.length"].as_str(), attributes["stream.approxMaxLength"].as_str()), ("4", "50"));
        let search = queue.search(2).await.unwrap().expect("it is there");
        assert_eq!((search.is_pending, search.wait_count, search.state.as_deref()), (false, 2, Some("ready")));
        queue.delete(&[2, 99]).await.unwrap();
        assert_eq!(queue.search(2).await.unwrap(), None);
        let kept: Vec<u64> =
            queue.get(&Get::new().length(10).keep()).await.unwrap().iter().map(|entry| entry.index).collect();
        assert_eq!(kept, [1, 3, 4]);
        assert_eq!(queue.get(&Get::new().newest().keep()).await.unwrap()[0].index, 4);
        queue.truncate(4).await.unwrap();
        assert_eq!(queue.get(&Get::new().length(10)).await.unwrap().len(), 1);
        queue.end().await.unwrap();
        let refused = queue.put(&Item::new("x")).await.unwrap_err();
        assert_eq!(refused.server_code(), Some("queue_ended"), "{refused}");
    });
}

#[test]
fn a_consumer_watches_commits_and_gives_back() {
    let scene = Scene::new();
    let client = scene.deploy("echo", json!({}));
    scene.stop();
    scene.run(async {
        let queue = client.queue();
        let mut items = queue.watch(&Watch::new().window(2)).await.unwrap();
        for data in ["one", "two", "three"] {
            queue.put(&Item::new(data)).await.unwrap();
        }
        let first = items.next().await.unwrap().expect("an item");
        let second = items.next().await.unwrap().expect("an item");
        assert_eq!((&*first.data, &*second.data), (&b"one"[..], &b"two"[..]));
        let pending = queue.search(2).await.unwrap().expect("it is there");
        assert_eq!((pending.is_pending, pending.state.as_deref()), (true, Some("leased")));
        // Another consumer does not hold it.
        let foreign = client.queue().commit(&[first.index]).await.unwrap_err();
        assert_eq!(foreign.server_code(), Some("lease_lost"), "{foreign}");
        queue.commit(&[first.index]).await.unwrap();
        assert_eq!(items.next().await.unwrap().map(|item| item.index), Some(3), "the window has room again");
        queue.negative_commit(&[2], "Shutdown", "I end").await.unwrap();
        assert_eq!(items.next().await.unwrap().map(|item| item.index), Some(2), "it was ready again at once");
        drop(items);
        // The consumer has left, and both items are delivered again.
        let mut other = client.queue().watch(&Watch::new().auto_commit()).await.unwrap();
        let mut rest = [other.next().await.unwrap().unwrap().index, other.next().await.unwrap().unwrap().index];
        rest.sort_unstable();
        assert_eq!(rest, [2, 3]);
        queue.end().await.unwrap();
        assert_eq!(other.next().await.unwrap(), None);
    });
    scene.drop_items();
}

#[test]
fn a_client_that_compresses_compresses_only_items() {
    let scene = Scene::new();
    let rpc = json!({"decompressor": "gzip"});
    let deployed = scene.host.deploy("svc", "echo", json!({"metadata": {"type": "Async", "rpc": rpc}}));
    let builder = Client::builder(&format!("http://{}", scene.host.data), "svc").token(&deployed.token);
    let client = builder.compressor(Compressor::Gzip).build().unwrap();
    scene.stop();
    scene.run(async {
        let queue = client.queue();
        queue.put(&Item::new("hello")).await.unwrap();
        assert_eq!(&*queue.get(&Get::new().keep()).await.unwrap()[0].data, b"hello");
        let mut items = queue.watch(&Watch::new()).await.unwrap();
        let item = items.next().await.unwrap().expect("an item");
        queue.negative_commit(&[item.index], "Disk.Full", "no room").await.unwrap();
    });
    scene.drop_items();
}

#[test]
fn a_program_without_async_uses_queues_too() {
    let scene = Scene::new();
    let client = blocking::Client::new(scene.deploy("echo", json!({}))).unwrap();
    let (queue, sink) = (client.queue(), client.sink().consumer("one"));
    let results = sink.watch(&Watch::new()).unwrap();
    for data in ["a", "b"] {
        queue.put(&Item::new(data)).unwrap();
    }
    for (entry, data) in results.take(2).zip(["a", "b"]) {
        let entry = entry.unwrap();
        assert_eq!(entry.data, data);
        sink.commit(&[entry.index]).unwrap();
    }
    assert_eq!(sink.attributes().unwrap()["stream.length"], "0");
}
