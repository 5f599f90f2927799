pub mod admission;
pub mod auth;
pub mod call;
pub mod config;
pub mod registry;
pub mod sandbox;
pub mod storage;
pub mod telemetry;
