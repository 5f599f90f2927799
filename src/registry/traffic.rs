//! Shares of requests: of a canary, of the members of a group, and copies for a mirror.

pub(in crate::registry) mod fair_shares;
pub(in crate::registry) mod groups;
pub(in crate::registry) mod mirror;
pub(in crate::registry) mod serving;
