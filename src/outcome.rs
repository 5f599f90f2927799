//! The end of a request: the run of its call, its account, and the refusals of the registry and the gateway. Every call
//! of a processor for a caller goes through [`dispatch`](dispatch::dispatch).

mod account;
mod dispatch;
mod owner;
mod reasons;
mod streamed;

pub(crate) use self::account::{Detached, Exchange, Ledger, Times};
pub(crate) use self::dispatch::{Admitted, Input, dispatch};
pub(crate) use self::owner::Owner;
pub(crate) use self::streamed::{Streamed, left, stream};
