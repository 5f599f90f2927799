//! Running versions: their build, their instances, and the replacement of lost guests.

pub(in crate::registry) mod batch_runner;
pub(in crate::registry) mod build;
pub(in crate::registry) mod crashes;
pub(in crate::registry) mod faults;
pub(in crate::registry) mod grace;
pub(in crate::registry) mod guest;
pub(in crate::registry) mod image;
pub(in crate::registry) mod instance;
pub(in crate::registry) mod replacements;
pub(in crate::registry) mod scale;
pub(in crate::registry) mod streamed;
pub(in crate::registry) mod supplies;
pub(in crate::registry) mod ticket;
pub(in crate::registry) mod version;
pub(in crate::registry) mod warm_up;
pub(in crate::registry) mod work;
pub(in crate::registry) mod worker;
