//! HTTP requests that leave the host on behalf of a service: only to the hosts that its file names.
//!
//! A name is looked up once, and the connection goes to an address that was found then. Addresses of private and special
//! networks are refused unless the file names them. Redirects are not followed.

mod client;
mod pool;
mod tls;

pub use self::client::{Client, Failure, ResponseBody, Timeouts};
pub use self::pool::{Pool, Share};
