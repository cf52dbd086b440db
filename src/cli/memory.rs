//! What the allocator keeps of memory that was freed.

/// Larger blocks go back to the system when they are freed.
const LARGE: libc::c_int = 4 << 20;
/// So much freed memory is kept at the end of a heap for what comes next.
const KEPT: libc::c_int = 8 << 20;
/// Heaps that threads share. With one for each thread, each keeps the most that its thread ever had: a request is
/// received by one, written by another and sent by a third.
const HEAPS: libc::c_int = 2;

/// Keeps glibc from raising what it takes to be large to 32 MiB as soon as a block of that size was freed: from then on
/// a heap would keep its largest requests for ever. Must come before any other thread is started.
#[cfg(target_env = "gnu")]
pub(super) fn give_back() {
    // SAFETY: sets three numbers of the allocator, under its own lock; no other thread is there to set them too.
    #[allow(unsafe_code, reason = "the allocator has no other interface")]
    unsafe {
        // One that is refused stays as it was: more memory is kept, nothing breaks.
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
    }
}

/// Others do not adapt in this way.
#[cfg(not(target_env = "gnu"))]
pub(super) fn give_back() {}
