//! Services as commands ask for them: where one is, all there are, and what an answer says of them.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Client;
use crate::cli::failure::Failure;
use crate::config::ServiceName;

/// The most services on a page, whatever a server would give by itself.
const PAGE: u16 = 1000;

/// Where a service is.
pub(crate) fn path(name: &ServiceName) -> String {
    format!("/api/v1/services/{name}")
}

/// An answer as a document of the admin API. `--json` shows it as it came instead, with what a newer server says besides.
pub(crate) fn read<T: DeserializeOwned>(answer: Value) -> Result<T, Failure> {
    let read = serde_json::from_value(answer);
    Ok(read.map_err(|error| anyhow::anyhow!("the server's answer cannot be read: {error}; --json shows it as it is"))?)
}

impl Client {
    /// The services that a query selects: all pages, one after the other.
    pub(crate) fn services(&self, query: &str) -> Result<Vec<Value>, Failure> {
        let mut services = Vec::new();
        let mut cursor = String::new();
        loop {
            let mut page = self.get(&format!("/api/v1/services?limit={PAGE}{query}{cursor}"))?;
            match page["services"].take() {
                Value::Array(rows) => services.extend(rows),
                _ => return Err(anyhow::anyhow!("the server's answer has no services in it").into()),
            }
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(services),
            }
        }
    }
}
