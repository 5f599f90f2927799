//! Closes the directories that the C library keeps open.

/// Closes the directories that the host offers. The C library opens all of them at the first use of a path, and keeps
/// them open. An open handle after `initialize` would keep the host from taking the snapshot that further instances
/// start from. The next use of a path opens the directories again.
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
