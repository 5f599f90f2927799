//! Takes the results of a run out of the sink.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message;
use tokio::time::{sleep, timeout};

use super::connection::{Connection, Fault};
use super::lane::Run;
use super::queue::{POLL, Queue, TAGS};
use super::results::Awaited;
use super::tally::code;

/// Connections that get results. While the answer of one is on its way, the other waits in the host.
pub(super) const READERS: usize = 2;
/// The longest wait for an answer, beyond the wait that the request asks for.
const ANSWER: Duration = Duration::from_secs(10);
/// The pause after an answer that is no list of results.
const PAUSE: Duration = Duration::from_millis(200);

/// The answer to a get: `DataFrameListProto` of the queue protocol, without the data.
#[derive(Clone, PartialEq, Message)]
struct List {
    #[prost(message, repeated, tag = "1")]
    results: Vec<Frame>,
}

#[derive(Clone, PartialEq, Message)]
struct Frame {
    #[prost(btree_map = "string, string", tag = "2")]
    tags: BTreeMap<String, String>,
}

/// Takes results and records them. It does not end by itself. A get whose answer is dropped may have taken results.
pub(super) async fn read(run: Arc<Run>) {
    let (Some(queue), Some(awaited)) = (&run.plan.queue, &run.awaited) else { return };
    let mut kept = None;
    loop {
        match get(queue, kept.take()).await {
            Ok((connection, list)) => {
                kept = Some(connection);
                record(queue, awaited, list);
            }
            Err(trouble) => {
                awaited.note(trouble);
                sleep(PAUSE).await;
            }
        }
    }
}

/// Gets the results that are there, or waits for some. On failure, says why.
async fn get(queue: &Queue, kept: Option<Connection>) -> Result<(Connection, List), String> {
    let said = |fault: Fault| fault.to_string();
    let exchange = async {
        let mut connection = match kept.filter(Connection::is_open) {
            Some(connection) => connection,
            None => Connection::open(queue.sink).await?,
        };
        let answer = connection.fetch(&queue.get).await?;
        Ok((connection, answer))
    };
    let (connection, answer) = timeout(POLL + ANSWER, exchange).await.unwrap_or(Err(Fault::Timeout)).map_err(said)?;
    match answer.status {
        200 => Ok((connection, List::decode(&*answer.excerpt).map_err(|_| said(Fault::Senseless))?)),
        204 => Ok((connection, List::default())),
        status => Err(format!("{status} {}", code(&answer.excerpt)).trim_end().to_owned()),
    }
}

fn record(queue: &Queue, awaited: &Awaited, list: List) {
    let now = Instant::now();
    for Frame { mut tags } in list.results {
        let number = tags.get(TAGS[1]).and_then(|id| queue.number(id));
        let status = tags.get("lastCode").and_then(|status| status.parse().ok()).unwrap_or(200);
        awaited.record(number, now, status, tags.remove("lastError").unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue::tests::queue;
    use super::*;

    #[test]
    fn the_status_of_a_result_is_in_its_tags() {
        let (queue, began) = (queue(), Instant::now());
        let awaited = Awaited::new(began);
        (0..2).for_each(|_| awaited.put(began).accept());
        let frame = |tags: &[(&str, &str)]| Frame {
            tags: tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        let results = vec![
            frame(&[("requestId", "r1-000000000001"), ("lastCode", "500"), ("lastError", "processor_panicked")]),
            frame(&[("requestId", "r1-000000000000"), ("kind", "demo")]),
            frame(&[("requestId", "somebody-1")]),
        ];
        record(&queue, &awaited, List { results });
        let results = awaited.finish();
        let kinds: Vec<_> = results.tally.statuses.keys().map(|(status, code)| format!("{status} {code}")).collect();
        assert_eq!(kinds, ["200 ", "500 processor_panicked"]);
        assert_eq!((results.missing, results.unmatched), (0, 1));
    }
}
