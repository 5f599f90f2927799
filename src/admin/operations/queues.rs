//! The queues of asynchronous services: their state, their dead letters, and the items of one request.

use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use crate::admin::api::{json_body, json_reply, parse, text_reply};
use crate::admin::operation::{Answer, Asked, Content, Operation, Parameter};
use crate::admin::problem::Problem;
use crate::admin::problem::kinds::{ITEM_NOT_FOUND, NOT_ASYNCHRONOUS, SERVICE_NOT_FOUND};
use crate::admin::query::{CURSOR, LIMIT};
use crate::admin::{Reply, view};
use crate::api::{CancelBody, CancelledIn, CancelledItem, DeadChoice, DeadLetters, Purged, QueueStatus, Requeued};
use crate::queue::{Bounds, DeadItem, QueueName};
use crate::quoted::Quoted;
use crate::registry::{Cancelled, ChangeError, Registry};

/// Dead letters that are read at once. A list shows no data, and each may have as many bytes as an item.
const READ_AT_ONCE: usize = 8;
/// Most indexes in one request.
const MOST_INDEXES: usize = 10_000;

/// Most bytes of a request id. A tag has no longer value.
const LONGEST_ID: usize = 256;

/// The queue that has the dead letters.
const QUEUE: Parameter = Parameter::word(
    "queue",
    "`sink` for the dead letters of the sink; otherwise those of the input queue.",
    &["input", "sink"],
);

const EITHER: &str = "either `indexes`, a list of numbers from 1, or `all`: true";

pub(super) static ROWS: &[Operation] = &[
    Operation::get("/api/v1/services/{name}/queue", "getQueue", |asked| Box::pin(status(asked)))
        .says(
            "Show the queues of an asynchronous service",
            "The input queue and the sink: items by state, limits, and consumers. The queues work in every state of the \
             service.",
        )
        .answers(&[Answer::ok("The state of both queues.", &[Content::json::<QueueStatus>()])])
        .refuses(&[&SERVICE_NOT_FOUND, &NOT_ASYNCHRONOUS]),
    Operation::get("/api/v1/services/{name}/queue/dead", "listDeadLetters", |asked| Box::pin(list(asked)))
        .says(
            "List the dead letters of a service",
            "The items that are not delivered any more, ordered by index, a page at a time. The data of an item is at its \
             own path. The sink has dead letters if external consumers did not finish results.",
        )
        .query(&[LIMIT, CURSOR, QUEUE])
        .answers(&[Answer::ok("The dead letters.", &[Content::json::<DeadLetters>()])])
        .refuses(&[&SERVICE_NOT_FOUND, &NOT_ASYNCHRONOUS]),
    Operation::get("/api/v1/services/{name}/queue/dead/{item}", "getDeadLetter", |asked| Box::pin(data(asked)))
        .says(
            "Get the data of a dead letter",
            "The bytes of the put, with the `Content-Type` of the put if it had one.",
        )
        .query(&[QUEUE])
        .answers(&[Answer::ok("The data.", &[Content::Bytes])])
        .refuses(&[&SERVICE_NOT_FOUND, &NOT_ASYNCHRONOUS, &ITEM_NOT_FOUND]),
    Operation::post("/api/v1/services/{name}/queue/dead/requeue", "requeueDeadLetters", |asked| {
        Box::pin(requeue(asked))
    })
    .changes("queue_requeue")
    .says(
        "Make dead letters ready again",
        "They keep their indexes, and their deliveries are counted anew. The answer has the number of those that were \
         dead.",
    )
    .query(&[QUEUE])
    .takes(&[Content::json::<DeadChoice>()])
    .answers(&[Answer::ok("The dead letters are ready.", &[Content::json::<Requeued>()])])
    .refuses(&[&SERVICE_NOT_FOUND, &NOT_ASYNCHRONOUS]),
    Operation::delete("/api/v1/services/{name}/queue/dead", "purgeDeadLetters", |asked| Box::pin(purge(asked)))
        .changes("queue_purge")
        .says("Remove dead letters", "The answer has the number of those that were dead.")
        .query(&[
            Parameter::text("indexes", "The indexes of the dead letters to remove, with commas between them."),
            Parameter::word("all", "`true` removes all dead letters.", &["true"]),
            QUEUE,
        ])
        .answers(&[Answer::ok("The dead letters are removed.", &[Content::json::<Purged>()])])
        .refuses(&[&SERVICE_NOT_FOUND, &NOT_ASYNCHRONOUS]),
    Operation::post("/api/v1/services/{name}/queue/cancel", "cancelItem", |asked| Box::pin(cancel(asked)))
        .changes("queue_cancel")
        .says(
            "Cancel the item of a request",
            "If a processor works on it, the processor is stopped, and the sink gets a result with the tag `lastCode` \
             `499`. If the processor ends at the same moment, its own result is in the sink instead. An item that waits, \
             or that an external consumer has, is removed without a result.",
        )
        .takes(&[Content::json::<CancelBody>()])
        .answers(&[Answer::ok("The item is cancelled.", &[Content::json::<CancelledItem>()])])
        .refuses(&[&SERVICE_NOT_FOUND, &NOT_ASYNCHRONOUS, &ITEM_NOT_FOUND]),
];

async fn status(asked: Asked) -> Result<Reply, Problem> {
    let service = asked.service()?;
    let state = service.state();
    let bounds = state.asynchronous().and_then(|spec| spec.queue()).map(Bounds::from);
    let bounds = bounds.ok_or(ChangeError::NotAsynchronous)?;
    let queues = asked.admin.registry.queues();
    let view = async |queue: QueueName| -> Result<_, Problem> {
        let status = queues.store.status(&queue).await.map_err(ChangeError::from)?;
        Ok(view::queue(&status, &bounds, &queues.consumers.list(&queue)))
    };
    let (input, sink) = (view(QueueName::input(service.name())).await?, view(QueueName::sink(service.name())).await?);
    json_reply(StatusCode::OK, &QueueStatus { name: service.name().to_owned(), input, sink })
}

async fn list(asked: Asked) -> Result<Reply, Problem> {
    let queue = queue(&asked)?;
    let mut from = asked.query.parsed::<u64>("cursor", "the `next` of the previous page")?.unwrap_or(0);
    let limit = asked.query.limit();
    let mut dead = Vec::new();
    // One entry more than is shown, to know whether there is another page.
    while dead.len() <= limit {
        let most = READ_AT_ONCE.min(limit + 1 - dead.len());
        let part = read(&asked.admin.registry, &queue, from, most).await?;
        let is_last = part.len() < most;
        from = part.last().map_or(from, |last| last.item.index.saturating_add(1));
        dead.extend(part.into_iter().map(view::dead_letter));
        if is_last {
            break;
        }
    }
    let next = dead.get(limit).map(|next| next.index.to_string());
    dead.truncate(limit);
    json_reply(StatusCode::OK, &DeadLetters { dead, next })
}

async fn data(asked: Asked) -> Result<Reply, Problem> {
    let queue = queue(&asked)?;
    let given = asked.place("item");
    let index = given.parse().map_err(|_| {
        Problem::bad_request(format!("items are numbered from 1, and {} is not a number", Quoted(given)))
    })?;
    let found = read(&asked.admin.registry, &queue, index, 1).await?.into_iter().find(|dead| dead.item.index == index);
    let DeadItem { item, .. } = found.ok_or_else(|| Problem::no_dead_letter(&queue, index))?;
    let named = item.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(CONTENT_TYPE.as_str()));
    let content_type = named.and_then(|(_, value)| HeaderValue::from_bytes(value).ok());
    let content_type = content_type.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let mut reply = text_reply(StatusCode::OK, content_type, item.data);
    // A caller chose the bytes and their type, so a browser must not show them as a page of this host.
    reply.headers_mut().insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    Ok(reply)
}

async fn requeue(asked: Asked) -> Result<Reply, Problem> {
    let (queue, order) = (queue(&asked)?, asked.order().clone());
    let choice = parse(&json_body(&asked.headers, asked.body).await?)?;
    let requeued = asked.admin.registry.requeue(&queue, &order, chosen(choice)?).await?;
    json_reply(StatusCode::OK, &Requeued { requeued })
}

async fn purge(asked: Asked) -> Result<Reply, Problem> {
    let queue = queue(&asked)?;
    let number = |text: &str| {
        let expected =
            || format!("indexes has {}; accepted are numbers from 1, with commas between them", Quoted(text));
        text.parse::<u64>().map_err(|_| Problem::bad_request(expected()))
    };
    let indexes = asked.query.text("indexes").map(|text| text.split(',').map(number).collect()).transpose()?;
    let choice = DeadChoice { indexes, all: asked.query.text("all").is_some() };
    let purged = asked.admin.registry.purge(&queue, asked.order(), chosen(choice)?).await?;
    json_reply(StatusCode::OK, &Purged { purged })
}

async fn cancel(asked: Asked) -> Result<Reply, Problem> {
    let (name, order) = (asked.name()?, asked.order().clone());
    let CancelBody { request_id } = parse(&json_body(&asked.headers, asked.body).await?)?;
    if request_id.is_empty() || request_id.len() > LONGEST_ID {
        let length = request_id.len();
        return Err(Problem::bad_request(format!("request_id has {length} bytes; accepted are 1 to {LONGEST_ID}")));
    }
    let cancelled = asked.admin.registry.cancel(name.as_str(), &order, &request_id).await?;
    let (cancelled, index) = match cancelled {
        Cancelled::Running { index } => (CancelledIn::Running, index),
        Cancelled::Waiting { index } => (CancelledIn::Waiting, index),
    };
    json_reply(StatusCode::OK, &CancelledItem { cancelled: cancelled.into(), index })
}

/// The queue that the path and the query name.
fn queue(asked: &Asked) -> Result<QueueName, Problem> {
    let service = asked.service()?;
    match (service.state().asynchronous(), asked.query.text(QUEUE.name)) {
        (None, _) => Err(ChangeError::NotAsynchronous.into()),
        (Some(_), Some(QueueName::SINK)) => Ok(QueueName::sink(service.name())),
        (Some(_), _) => Ok(QueueName::input(service.name())),
    }
}

async fn read(registry: &Registry, queue: &QueueName, from: u64, most: usize) -> Result<Vec<DeadItem>, Problem> {
    let read = registry.queues().store.dead(queue, from, most).await;
    Ok(read.map_err(ChangeError::from)?)
}

/// The chosen indexes; `None` for all.
fn chosen(choice: DeadChoice) -> Result<Option<Vec<u64>>, Problem> {
    match choice {
        DeadChoice { indexes: None, all: true } => Ok(None),
        DeadChoice { indexes: Some(indexes), all: false } if indexes.len() > MOST_INDEXES => {
            let count = indexes.len();
            Err(Problem::bad_request(format!("there are {count} indexes; accepted are at most {MOST_INDEXES}")))
        }
        DeadChoice { indexes: Some(indexes), all: false } if !indexes.is_empty() => Ok(Some(indexes)),
        _ => Err(Problem::bad_request(format!("it is not said which dead letters are meant; accepted is {EITHER}"))),
    }
}
