//! How a request ends: the way of a call to its outcome, the account that is kept of it, and the refusals for what stands
//! in its way. Whoever calls a processor does it through [`dispatch`](dispatch::dispatch).

mod account;
mod dispatch;
mod owner;
mod reasons;
mod streamed;

pub(crate) use self::account::{Exchange, Ledger, Times};
pub(crate) use self::dispatch::{Admitted, Input, dispatch};
pub(crate) use self::owner::Owner;
pub(crate) use self::streamed::{Streamed, stream};
