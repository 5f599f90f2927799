pub mod admission;
pub mod call;
pub mod sandbox;
pub mod storage;
