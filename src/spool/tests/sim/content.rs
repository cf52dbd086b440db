//! The bytes of a simulated file, shared between copies until they are written.

use std::sync::{Arc, LazyLock};

/// What a disk writes whole or not at all.
pub(crate) const SECTOR: usize = 512;
/// What is shared between copies.
pub(crate) const PAGE: usize = 4096;

type Page = Arc<[u8; PAGE]>;

static ZEROS: LazyLock<Page> = LazyLock::new(|| Arc::new([0; PAGE]));

/// Bytes and size. Where no page is, and beyond the size, are zeros.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    pages: Vec<Option<Page>>,
    pub(crate) size: u64,
}

impl Content {
    /// Appends what stands at `offset` to `into`, at most `length` bytes, up to the size.
    pub(crate) fn read(&self, into: &mut Vec<u8>, offset: u64, length: usize) -> usize {
        let end = self.size.min(offset.saturating_add(length as u64));
        let mut at = offset;
        while at < end {
            let (page, start) = ((at / PAGE as u64) as usize, (at % PAGE as u64) as usize);
            let part = (PAGE - start).min((end - at) as usize);
            match self.pages.get(page).and_then(Option::as_ref) {
                Some(bytes) => into.extend_from_slice(&bytes[start..start + part]),
                None => into.resize(into.len() + part, 0),
            }
            at += part as u64;
        }
        end.saturating_sub(offset) as usize
    }

    /// Puts bytes at `offset`; the size stays.
    pub(crate) fn put(&mut self, offset: u64, bytes: &[u8]) {
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let (page, start) = ((at / PAGE as u64) as usize, (at % PAGE as u64) as usize);
            let (part, tail) = rest.split_at((PAGE - start).min(rest.len()));
            if self.pages.len() <= page {
                self.pages.resize(page + 1, None);
            }
            let slot = &mut self.pages[page];
            if *part == ZEROS[..] {
                *slot = Some(ZEROS.clone());
            } else {
                let bytes = Arc::make_mut(slot.get_or_insert_with(|| ZEROS.clone()));
                bytes[start..start + part.len()].copy_from_slice(part);
            }
            (at, rest) = (at + part.len() as u64, tail);
        }
    }

    /// Sets the size; what lies beyond it is zeros from now on.
    pub(crate) fn cut(&mut self, size: u64) {
        self.size = size;
        let (page, start) = ((size / PAGE as u64) as usize, (size % PAGE as u64) as usize);
        self.pages.truncate(page + usize::from(start > 0));
        if let (true, Some(Some(last))) = (start > 0, self.pages.get_mut(page))
            && last[start..].iter().any(|b| *b != 0)
        {
            Arc::make_mut(last)[start..].fill(0);
        }
    }

    /// The sectors that `length` bytes at `offset` touch, whole: where they begin, and their bytes.
    pub(crate) fn sectors(&self, offset: u64, length: u64) -> (u64, Arc<[u8]>) {
        let first = offset / SECTOR as u64 * SECTOR as u64;
        let end = (offset + length).next_multiple_of(SECTOR as u64);
        let mut bytes = Vec::with_capacity((end - first) as usize);
        self.read(&mut bytes, first, (end - first) as usize);
        bytes.resize((end - first) as usize, 0);
        (first, bytes.into())
    }

    /// Bytes that take room.
    pub(crate) fn allocated(&self) -> u64 {
        self.pages.iter().flatten().count() as u64 * PAGE as u64
    }

    pub(crate) fn has_page(&self, offset: u64) -> bool {
        self.pages.get((offset / PAGE as u64) as usize).is_some_and(Option::is_some)
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let page = |of: &Self, at: usize| of.pages.get(at).cloned().flatten().unwrap_or_else(|| ZEROS.clone());
        let pages = self.pages.len().max(other.pages.len());
        self.size == other.size
            && (0..pages).all(|at| {
                let (a, b) = (page(self, at), page(other, at));
                Arc::ptr_eq(&a, &b) || a == b
            })
    }
}
