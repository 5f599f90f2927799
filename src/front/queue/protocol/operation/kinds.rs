//! The parameters of each operation. A parameter that chooses an operation may also be given, as false, to the other
//! operations of its method.

use crate::front::queue::protocol::parameters::{Kind, Tagged};

pub(super) const PUT: Kind = Kind { name: "a put", parameters: &["_priority_", "_eos_"], tags: Tagged::Yes };
pub(super) const END: Kind = Kind { name: "an end", parameters: &["_eos_", "_force_"], tags: Tagged::No };
pub(super) const GET: Kind = Kind {
    name: "a get",
    parameters: &[
        "_index_",
        "_length_",
        "_timeout_",
        "_auto_delete_",
        "_raw_",
        "_attrs_",
        "_count_",
        "_search_",
        "_watch_",
    ],
    tags: Tagged::Yes,
};
pub(super) const ATTRIBUTES: Kind = Kind {
    name: "a request for attributes",
    parameters: &["_attrs_", "_count_", "_search_", "_watch_"],
    tags: Tagged::No,
};
pub(super) const COUNT: Kind = Kind {
    name: "a count",
    parameters: &["_count_", "_priority_", "_attrs_", "_search_", "_watch_"],
    tags: Tagged::Yes,
};
pub(super) const SEARCH: Kind =
    Kind { name: "a search", parameters: &["_search_", "_index_", "_attrs_", "_count_", "_watch_"], tags: Tagged::Yes };
pub(super) const WATCH: Kind = Kind {
    name: "a watch",
    parameters: &[
        "_watch_",
        "_index_",
        "_window_",
        "_index_only_",
        "_auto_commit_",
        "_progress_",
        "_attrs_",
        "_count_",
        "_search_",
    ],
    tags: Tagged::Yes,
};
pub(super) const COMMIT: Kind =
    Kind { name: "a commit", parameters: &["_indexes_", "_negative_", "_extend_"], tags: Tagged::No };
pub(super) const DELETE: Kind = Kind { name: "a delete", parameters: &["_indexes_", "_trunc_"], tags: Tagged::No };
pub(super) const TRUNCATE: Kind = Kind { name: "a truncation", parameters: &["_trunc_", "_index_"], tags: Tagged::No };
