//! Descriptors that whoever started us left open.
#![expect(unsafe_code, reason = "there is no safe way to close descriptors that nobody owns")]

/// Closes all but stdin, stdout and stderr: a shell's lock file or pipe must not stay open as long as we are connected.
pub(super) fn close() {
    // SAFETY: nothing has been opened by this process yet, so nobody in it owns what is closed. If the kernel refuses,
    // they stay open.
    unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
}
