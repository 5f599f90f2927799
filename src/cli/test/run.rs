//! Runs a service file on this machine, without a server, for `bulkhead test`.
//!
//! The sandbox and the limits on requests and answers are those of a host. There is no queue and no data
//! directory. Requests of the processor go to the hosts that the file allows.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use super::{LocalAnswer, LocalRequest};
use crate::admission::{Begun, Executor, Overdue, SliceHistory};
use crate::call::{Answer, Beginning, Call, Cut, Deadline, Raced, RequestId, Spent, Streaming};
use crate::cli::upload::Upload;
use crate::config::ServiceFile;
use crate::front::local::{self as verdicts, Verdict};
use crate::keyvalue::Stores;
use crate::outbound::Pool;
use crate::registry::{CallDeadline, guest_settings};
use crate::sandbox::{Capacity, Fault, Guest, Level, LineSink, Run, Sandbox, own_program};

/// Most connections of the processor's requests at once.
const MAX_CONNECTIONS: usize = 64;
/// The path before a service's name.
const PREDICT: &str = "/api/predict";

/// Calls the processor with each request in turn. A guest is used again as long as it is intact.
///
/// # Errors
/// If the processor cannot be compiled or initialised. A failed call is an answer, not an error.
pub(super) fn run_once(file: &ServiceFile, upload: &Upload, requests: Vec<LocalRequest>) -> Result<Vec<LocalAnswer>> {
    let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
    let model_dir = dir.path().join("model");
    place_model(upload, &model_dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let executor = Executor::new(1)?;
    let sandbox =
        Sandbox::new(own_program(), dir.path().join("compiled"), Capacity { guests: 4, ..Capacity::default() })
            .with_wasi_03();

    let outbound = Pool::new(executor.background().clone(), MAX_CONNECTIONS).share();
    let stores = Arc::new(Stores::new(dir.path().join("keyvalue.redb"), executor.background().clone()));
    let store = stores.store("test");
    let mut settings = guest_settings(file.spec(), (!upload.model().is_empty()).then_some(model_dir), &outbound, store);
    settings.model_entry = upload.model_entry().map(str::to_owned);
    let kept = Arc::new(Kept::default());
    runtime.block_on(async {
        let processor = upload.processor().context("the service file names no processor: processor_path is missing")?;
        let wasm = processor.file().context("processor_path names a file on a server; a test needs it here")?;
        let prepared = sandbox.prepare(wasm, processor.sha256(), settings, kept.clone()).await?;
        let program = prepared.program();
        let mut guest = Some(program.instantiate().await?);
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let whole = match guest.take() {
                Some(guest) => guest,
                None => program.instantiate().await?,
            };
            kept.take();
            let (answer, survivor) = call(file, &executor, whole, request, &kept).await?;
            answers.push(answer);
            guest = survivor;
        }
        Ok(answers)
    })
}

fn place_model(upload: &Upload, dir: &Path) -> Result<()> {
    for file in upload.model() {
        let to = dir.join(file.path());
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let from = file.artifact().file().context("it is on a server")?;
        std::fs::copy(from, &to).with_context(|| format!("cannot copy model file {:?}", file.path()))?;
    }
    for empty in upload.empty_directories() {
        std::fs::create_dir_all(empty.below(dir))?;
    }
    Ok(())
}

async fn call(
    file: &ServiceFile,
    executor: &Executor,
    mut guest: Guest,
    request: LocalRequest,
    kept: &Kept,
) -> Result<(LocalAnswer, Option<Guest>)> {
    let sandbox = file.spec().sandbox();
    let keepalive = file.spec().rpc().keepalive;
    let started = Instant::now();
    let mut call = to_call(file, request, started + keepalive)?;
    let target = format!("{PREDICT}{}", call.uri);
    if let Err(Verdict { status, code, detail }) =
        verdicts::judge(call.method.as_str(), &target, call.body.len(), sandbox)
    {
        let (body, run) = (detail.into_bytes(), started.elapsed());
        let answer = LocalAnswer { status, code, content_type: None, body, logs: Vec::new(), fuel: None, run };
        return Ok((answer, Some(guest)));
    }
    // A host also calls the processor with GET for HEAD, unless the service lists HEAD.
    if sandbox.methods.takes_for_get(call.method.as_str()) {
        call.method = Method::GET;
    }
    let call = Arc::new(call);
    let called = Arc::clone(&call);
    let work = Box::pin(async move {
        let run = guest.run(called, started).await;
        let whole = run.left_the_guest_whole() && guest.recycle_reason().is_none();
        (run, whole.then_some(guest))
    });
    let (history, moving) = (Arc::<SliceHistory>::default(), || CallDeadline(Arc::clone(&call)));
    let outcome = match executor.begin(&history, started, started + keepalive, moving, work).await {
        Err(Overdue) => Err(Overdue),
        Ok(Begun::Done(worked)) => Ok((worked, None)),
        Ok(Begun::Running(mut working)) => match call.streaming.race(&mut working).await {
            Raced::Ended(worked) => worked.map(|worked| (worked, None)),
            // The guest waits for those who read its answer.
            Raced::Answering(answer) => {
                let (answer, worked) = tokio::join!(read(answer), working);
                worked.map(|worked| (worked, Some(answer)))
            }
        },
    };
    let run = started.elapsed();
    let (status, code, content_type, body, fuel, survivor) = match outcome {
        Ok(((Run { result: Ok(answer), fuel, .. }, survivor), streamed)) => {
            let (status, content_type, body) = match streamed {
                Some(streamed) => streamed,
                None => read(answer).await,
            };
            match body {
                Ok(body) => (status.as_u16(), of_processor(status), content_type, body.bytes.to_vec(), fuel, survivor),
                Err(Cut { status, code, cause }) => {
                    let status = if status == 0 { sandbox.trap_status } else { status };
                    (status, code, None, cause.into_bytes(), fuel, None)
                }
            }
        }
        Ok(((Run { result: Err(failed), fuel, .. }, survivor), _)) => {
            let Verdict { status, code, detail } = verdicts::failed(*failed, sandbox);
            (status, code, None, detail.into_bytes(), fuel, survivor)
        }
        Err(Overdue) => {
            let Verdict { status, code, detail } = verdicts::overdue(keepalive);
            (status, code, None, detail.into_bytes(), None, None)
        }
    };
    Ok((LocalAnswer { status, code, content_type, body, logs: kept.take(), fuel, run }, survivor))
}

async fn read(answer: Box<Answer>) -> (StatusCode, Option<String>, Result<Beginning, Cut>) {
    let content_type = answer.content_type.as_ref().and_then(|value| value.to_str().ok()).map(str::to_owned);
    (answer.status, content_type, answer.body.read(usize::MAX).await)
}

/// The code of an answer that the processor chose.
fn of_processor(status: StatusCode) -> &'static str {
    if status == StatusCode::OK { "" } else { "processor_status" }
}

fn to_call(file: &ServiceFile, request: LocalRequest, deadline: Instant) -> Result<Call> {
    let prefix = format!("/{}", file.spec().name());
    let uri: Uri = format!("{prefix}{}", request.path)
        .parse()
        .with_context(|| format!("{:?} cannot be a path; it begins with `/` and is percent-encoded", request.path))?;
    let Ok(method) = Method::from_bytes(request.method.as_bytes()) else {
        bail!("{:?} cannot be a method", request.method);
    };
    let mut headers = HeaderMap::new();
    if let Some(content_type) = request.content_type {
        let value = HeaderValue::from_str(&content_type)
            .with_context(|| format!("{content_type:?} cannot be a content type"))?;
        headers.insert(CONTENT_TYPE, value);
    }
    Ok(Call {
        method,
        uri,
        path_start: prefix.len(),
        headers: headers.into(),
        body: Bytes::from(request.body),
        upload: None,
        request_id: RequestId::generate(),
        deadline: Deadline::new(deadline),
        spent: Spent::default(),
        streaming: Streaming::default(),
        job: None,
    })
}

/// Collects the log lines of a call for its answer.
#[derive(Default)]
struct Kept(Mutex<Vec<String>>);

impl Kept {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, line: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

impl LineSink for Kept {
    fn line(&self, _: Option<RequestId>, level: Level, text: &str) {
        self.keep(format!("{}: {text}", level.name()));
    }

    fn dropped(&self, _: Option<RequestId>, count: u64) {
        self.keep(format!("{count} lines dropped (sandbox.log_bytes_per_request)"));
    }

    fn fault(&self, _: Option<RequestId>, _: &Fault, stack: &str) {
        if !stack.is_empty() {
            self.keep(format!("stack: {}", stack.replace('\n', " <- ")));
        }
    }
}
