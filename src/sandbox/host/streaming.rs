//! The `streaming` interface: an answer that is sent while the guest still works.

use http_body_util::BodyExt;

use super::HostState;
use super::streaming_interface::Host;
use crate::call::Body;
use crate::sandbox::entry::head;
use crate::sandbox::stream::{self, Abandoned};

/// The interface's name among the imports of a component.
pub(in crate::sandbox) const STREAMING: &str = "bulkhead:processor/streaming@0.1.0";

impl HostState {
    /// Ends the stream of the present call, if there is one.
    pub(in crate::sandbox) fn end_stream(&mut self) {
        self.stream = None;
    }

    fn begin(
        &mut self,
        status: u16,
        content_type: Option<String>,
        headers: Vec<(String, String)>,
    ) -> Result<(), String> {
        let Some(call) = &self.call else { return Err("there is no call that could be answered".into()) };
        let Some(limits) = self.stream_limits else {
            return Err("a service with metadata.rpc.batching gives whole answers".into());
        };
        if self.stream.is_some() {
            return Err("the answer has begun already".into());
        }
        let mut answer = head(status, content_type, headers).map_err(|fault| fault.to_string())?;
        let (sink, pieces) = stream::channel();
        answer.body = Body::Stream(pieces.map_err(|never| match never {}).boxed_unsync());
        self.stream = Some(sink);
        call.begin_answer(answer, limits);
        Ok(())
    }
}

impl Host for HostState {
    async fn begin(
        &mut self,
        status: u16,
        content_type: Option<String>,
        headers: Vec<(String, String)>,
    ) -> Result<(), String> {
        self.work(headers.iter().map(|(name, value)| name.len() + value.len()).sum()).await;
        Self::begin(self, status, content_type, headers)
    }

    async fn write(&mut self, piece: Vec<u8>) -> Result<(), ()> {
        self.work(piece.len()).await;
        match &self.stream {
            Some(sink) => sink.send(piece.into()).await.map_err(|Abandoned| ()),
            None => Err(()),
        }
    }

    async fn is_abandoned(&mut self) -> bool {
        self.work(0).await;
        self.call.as_ref().is_none_or(|call| call.streaming.is_abandoned())
    }
}
