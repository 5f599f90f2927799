//! Requests about services: the path of one, the list of all, and the parsing of answers.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Client;
use crate::cli::failure::Failure;
use crate::config::ServiceName;

/// The largest page that a server gives.
const PAGE: u16 = 1000;

/// The path of a service in the admin API.
pub(crate) fn path(name: &ServiceName) -> String {
    format!("/api/v1/services/{name}")
}

/// Parses an answer of the admin API. `--json` prints the answer unparsed instead, with all members that a newer server
/// adds.
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
