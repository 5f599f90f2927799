//! A host's metrics, read over HTTP.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::http;

/// The longest wait for an expected change.
const PATIENCE: Duration = Duration::from_secs(5);

/// One reading of `/metrics`: each sample's text and value.
pub(crate) struct Metrics(Vec<(String, f64)>);

impl Metrics {
    pub(crate) fn read(admin: SocketAddr) -> Result<Self> {
        let answer = http::call(admin, b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        if answer.status != 200 {
            bail!("/metrics answered {}: {}", answer.status, answer.text());
        }
        Ok(Self::parse(&answer.text()))
    }

    fn parse(text: &str) -> Self {
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// Sums the samples of `name` that have all `labels`, each in the form `key="value"`.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        let matches = |sample: &str| {
            let (found, labels) = sample.split_once('{').unwrap_or((sample, ""));
            let labels = labels.trim_end_matches('}');
            found == name && wanted.iter().all(|label| labels.split(',').any(|found| found == label))
        };
        self.0.iter().filter(|(sample, _)| matches(sample)).map(|(_, value)| value).sum()
    }

    /// Returns the numbers of accepted requests and of outcomes. They are equal when no request is running.
    pub(crate) fn account(&self) -> (f64, f64) {
        (self.sum("bulkhead_requests_accepted_total", &[]), self.sum("bulkhead_requests_total", &[]))
    }
}

/// Reads the metrics until `is_so` returns true; an error if that takes too long.
pub(crate) fn wait_for(admin: SocketAddr, what: &str, is_so: impl Fn(&Metrics) -> bool) -> Result<Metrics> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = Metrics::read(admin)?;
        if is_so(&metrics) {
            return Ok(metrics);
        }
        if Instant::now() > deadline {
            bail!("{what}: not true within {} s", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_by_their_labels() {
        let text = "# HELP a_total x\na_total{service=\"x\",status=\"200\"} 3\na_total{service=\"y\",status=\"200\"} 4\nb 1.5\n# EOF\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.sum("a_total", &[]), 7.0);
        assert_eq!(metrics.sum("a_total", &[("service", "y")]), 4.0);
        assert_eq!(metrics.sum("a_total", &[("status", "20")]), 0.0);
        assert_eq!(metrics.sum("b", &[]), 1.5);
    }
}
