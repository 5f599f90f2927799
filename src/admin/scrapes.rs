//! Shares one rendering of the metrics among the requests that wait for it.
//!
//! A rendering visits every service and takes milliseconds of a thread that also answers probes. Hundreds of
//! connections that ask for metrics without pause would delay `/healthz` by as many renderings. So there is one
//! rendering at a time, and every request that came before it began gets its text. No request gets an older text, so a
//! scrape shows everything that was counted before it.

use std::fmt;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Mutex;

use crate::telemetry::MetricsFormat;

/// The latest rendering in each format.
#[derive(Default)]
pub struct Scrapes {
    text: Mutex<Option<Rendered>>,
    openmetrics: Mutex<Option<Rendered>>,
}

struct Rendered {
    began: Instant,
    text: Bytes,
}

impl Scrapes {
    /// Returns a text whose rendering began after this call: by `render`, or by another caller that waited at the same
    /// time.
    ///
    /// # Errors
    /// Those of `render`.
    pub(super) async fn share(
        &self,
        format: MetricsFormat,
        render: impl FnOnce() -> Result<String, fmt::Error>,
    ) -> Result<Bytes, fmt::Error> {
        let asked = Instant::now();
        // Lets the other requests on this thread reach this point first, so that one rendering serves all of them.
        tokio::task::yield_now().await;
        let mut latest = match format {
            MetricsFormat::Text => self.text.lock().await,
            MetricsFormat::OpenMetrics => self.openmetrics.lock().await,
        };
        if let Some(rendered) = latest.as_ref().filter(|rendered| rendered.began > asked) {
            return Ok(rendered.text.clone());
        }
        let began = Instant::now();
        let text = Bytes::from(render()?);
        *latest = Some(Rendered { began, text: text.clone() });
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Without sharing, 256 connections that pipelined `GET /metrics` delayed `/healthz` by seconds.
    #[tokio::test]
    async fn those_that_wait_share_one_rendering_and_nobody_gets_an_older_one() {
        let (scrapes, renderings) = (Arc::new(Scrapes::default()), Arc::new(AtomicUsize::new(0)));
        let scrape = |format| {
            let (scrapes, renderings) = (Arc::clone(&scrapes), Arc::clone(&renderings));
            let render = move || Ok((renderings.fetch_add(1, Ordering::Relaxed) + 1).to_string());
            tokio::spawn(async move { scrapes.share(format, render).await.unwrap() })
        };
        let crowd: Vec<_> = (0..256).map(|_| scrape(MetricsFormat::Text)).collect();
        for waiting in crowd {
            assert_eq!(waiting.await.unwrap(), "1");
        }
        assert_eq!(scrape(MetricsFormat::Text).await.unwrap(), "2", "it came later");
        assert_eq!(scrape(MetricsFormat::OpenMetrics).await.unwrap(), "3", "another format");
    }
}
