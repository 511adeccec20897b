//! Memory of the connections' rings: mapped by itself, so that a page costs nothing until bytes come to lie in it, and
//! bounded in all.
//!
//! An allocator would hand out what another flow has touched before, and clear it: every page of it then counts.
#![expect(unsafe_code, reason = "anonymous memory that smoltcp borrows for as long as its socket lives")]

use std::ffi::c_void;
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use smoltcp::iface::{SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::tcp::{Socket, SocketBuffer};

/// Of each direction: a few of the largest packets, so that the app's kernel need not wait for us to empty the first.
const RING: usize = 256 << 10;
/// The same once the budget is spent: slower, but as many as there may be descriptors.
const SMALL_RING: usize = 32 << 10;
/// For large rings of all connections, were every page of them in use.
const BUDGET: usize = 512 << 20;

/// What is left for large rings.
pub(super) struct Budget(AtomicUsize);

impl Budget {
    pub(super) fn new() -> Self {
        Self(AtomicUsize::new(BUDGET))
    }

    fn take(&self, bytes: usize) -> bool {
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        taken.is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// One TCP socket and the memory of its rings.
pub(super) struct Tcp {
    // before the memory it borrows
    set: SocketSet<'static>,
    handle: SocketHandle,
    pages: Pages,
    budget: std::sync::Arc<Budget>,
}

impl Tcp {
    pub(super) fn new(budget: &std::sync::Arc<Budget>) -> io::Result<Self> {
        let ring = if budget.take(2 * RING) { RING } else { SMALL_RING };
        let mut pages = Pages::map(2 * ring).inspect_err(|_| {
            if ring == RING {
                budget.give_back(2 * RING);
            }
        })?;
        // SAFETY: the slice goes into the set below, which is dropped before the pages and handed out with a lifetime
        // that nothing can be moved out by.
        let (rx, tx) = unsafe { pages.as_static() }.split_at_mut(ring);
        let socket = Socket::new(SocketBuffer::new(rx), SocketBuffer::new(tx));
        let mut set = SocketSet::new(vec![SocketStorage::EMPTY]);
        let handle = set.add(socket);
        Ok(Self { set, handle, pages, budget: std::sync::Arc::clone(budget) })
    }

    /// The set with the one socket in it. Its lifetime is nobody's own, so that neither can leave.
    pub(super) fn with<R>(&mut self, work: impl for<'a> FnOnce(&mut SocketSet<'a>, SocketHandle) -> R) -> R {
        work(&mut self.set, self.handle)
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        if self.pages.len.get() == 2 * RING {
            self.budget.give_back(2 * RING);
        }
    }
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tcp").field("bytes", &self.pages.len).finish_non_exhaustive()
    }
}

/// Anonymous memory of zeros.
struct Pages {
    at: NonNull<c_void>,
    len: NonZeroUsize,
}

// SAFETY: plain memory without an owner of its own: whoever has the value has the memory.
unsafe impl Send for Pages {}

impl Pages {
    fn map(len: usize) -> io::Result<Self> {
        let len = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let at = unsafe { mmap_anonymous(None, len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags) }?;
        // A huge page would make the first byte cost 2 MB. A kernel that has none refuses the advice.
        // SAFETY: exactly the mapping from above; the advice changes no contents.
        let _ = unsafe { madvise(at, len.get(), MmapAdvise::MADV_NOHUGEPAGE) };
        Ok(Self { at, len })
    }

    /// # Safety
    /// The slice must not be used once this is dropped, and there must be only one.
    unsafe fn as_static(&mut self) -> &'static mut [u8] {
        // SAFETY: mapped, readable and writable, zeroed, of that length; the caller keeps the rest.
        unsafe { std::slice::from_raw_parts_mut(self.at.cast().as_ptr(), self.len.get()) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: our own mapping, which nobody uses any more.
        let _ = unsafe { munmap(self.at, self.len.get()) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn sizes(tcp: &mut Tcp) -> (usize, usize) {
        tcp.with(|set, handle| {
            let socket = set.get::<Socket<'_>>(handle);
            (socket.recv_capacity(), socket.send_capacity())
        })
    }

    #[test]
    fn large_rings_are_given_while_there_is_room() {
        let budget = Arc::new(Budget::new());
        let mut all: Vec<Tcp> = (0..BUDGET / RING / 2).map(|_| Tcp::new(&budget).unwrap()).collect();
        assert_eq!(sizes(&mut all[0]), (RING, RING));
        let mut one_more = Tcp::new(&budget).unwrap();
        assert_eq!(sizes(&mut one_more), (SMALL_RING, SMALL_RING));
        drop(all.pop());
        drop(one_more);
        assert_eq!(
            sizes(&mut Tcp::new(&budget).unwrap()),
            (RING, RING),
            "what was given back is given again"
        );
        drop(all);
        assert_eq!(budget.0.load(Ordering::Relaxed), BUDGET);
    }

    /// The reason for all this: ten thousand of them fit into any machine.
    #[test]
    fn a_ring_that_nobody_has_written_to_costs_nothing() {
        let resident = || -> u64 {
            let text = std::fs::read_to_string("/proc/self/statm").unwrap();
            text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
        };
        let (budget, before) = (Arc::new(Budget::new()), resident());
        let all: Vec<Tcp> = (0..2000).map(|_| Tcp::new(&budget).unwrap()).collect();
        let each = resident().saturating_sub(before) / 2000;
        assert!(each < 4096, "{each} bytes each");
        drop(all);
    }
}
