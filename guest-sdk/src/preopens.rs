//! Lets go of the directories that the C library keeps open.

/// The first use of a path makes the C library open every directory that the host offers, and keep them. After `initialize` that would
/// be all that stands between this instance and a picture of its memory that further instances can start from. The next use of a
/// path opens them again.
#[expect(
    unsafe_code,
    reason = "declaring a C function is unsafe; this one takes nothing and may be called at any time"
)]
pub(crate) fn close() {
    unsafe extern "C" {
        safe fn __wasilibc_reset_preopens();
    }
    __wasilibc_reset_preopens();
}
