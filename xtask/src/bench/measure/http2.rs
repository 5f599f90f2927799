//! Load over HTTP/2: many concurrent calls on one connection.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use h2::client::SendRequest;
use hyper::Request;
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::task::JoinSet;

use crate::services::Service;

const STREAMS: usize = 32;

/// Calls `service` with `body` for `time`. Every answer must repeat the body.
pub(super) fn load(address: SocketAddr, service: &Service, body: &[u8], time: Duration) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let stream = TcpStream::connect(address).await?;
        let (client, connection) = h2::client::handshake(stream).await?;
        let connection = tokio::spawn(connection);
        let request = Request::post(format!("http://localhost{}", service.path()));
        let request = request.header("authorization", &service.token).body(())?;
        let (body, end) = (Bytes::copy_from_slice(body), Instant::now() + time);
        let mut streams = JoinSet::new();
        for _ in 0..STREAMS {
            let (client, request, body) = (client.clone(), request.clone(), body.clone());
            streams.spawn(async move {
                let mut client = client.ready().await?;
                while Instant::now() < end {
                    client = call(client, &request, &body).await?;
                }
                Ok::<_, anyhow::Error>(())
            });
        }
        while let Some(ended) = streams.join_next().await {
            ended?.context("HTTP/2")?;
        }
        drop(client);
        Ok(connection.await??)
    })
}

async fn call(mut client: SendRequest<Bytes>, request: &Request<()>, body: &Bytes) -> Result<SendRequest<Bytes>> {
    let (answer, mut sending) = client.send_request(request.clone(), false)?;
    sending.send_data(body.clone(), true)?;
    let answer = answer.await?;
    let status = answer.status();
    let (mut receiving, mut received) = (answer.into_body(), 0);
    while let Some(piece) = receiving.data().await.transpose()? {
        receiving.flow_control().release_capacity(piece.len())?;
        received += piece.len();
    }
    if status != 200 || received != body.len() {
        bail!("an echo of {} bytes was answered with {status} and {received} bytes", body.len());
    }
    Ok(client.ready().await?)
}
