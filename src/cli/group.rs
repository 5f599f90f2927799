//! The error for a group's name where a service's name is expected.

use super::client::Client;
use super::failure::{Exit, Failure};
use crate::config::ServiceName;

/// Replaces the failure if it is a 404 and `name` is a group; otherwise returns it unchanged.
pub(super) fn or_group(client: &Client, name: &ServiceName, failure: Failure) -> Failure {
    if failure.exit() != Exit::NotFound {
        return failure;
    }
    // If the services cannot be listed, the first failure says more.
    let Ok(services) = client.services("") else { return failure };
    let members = services.iter().filter(|service| service["group"] == name.as_str());
    let members: Vec<&str> = members.filter_map(|member| member["name"].as_str()).collect();
    let Some(first) = members.first() else { return failure };
    let url = services.iter().find(|service| service["name"] == *first).and_then(|service| service["url"].as_str());
    let host = url.and_then(|url| url.split_once("/api/")).map_or("", |(host, _)| host);
    Failure::Missing(format!(
        "`{name}` is a group, not a service; its members are {}\n\
         hint: name one of them; callers reach the group at {host}/api/predict/{name}, with a member's token",
        members.iter().map(|member| format!("`{member}`")).collect::<Vec<_>>().join(", ")
    ))
}
