//! Attributes of a netlink message, read one by one: only what somebody asks for must be well-formed.

use std::net::IpAddr;

use rtnetlink::packet_core::{NlasIterator, parse_ip};

/// The attributes that follow the fixed part of a message.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(self, kind: u16) -> Option<&'a [u8]> {
        let found = NlasIterator::new(self.0).flatten().find(|attribute| attribute.kind() == kind)?;
        let length = usize::from(found.length());
        found.into_inner().get(4..length)
    }

    pub(super) fn has(self, kind: u16) -> bool {
        self.bytes(kind).is_some()
    }

    pub(super) fn nested(self, kind: u16) -> Option<Self> {
        self.bytes(kind).map(Self)
    }

    pub(super) fn number(self, kind: u16) -> Option<u32> {
        self.bytes(kind)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
    }

    pub(super) fn ip(self, kind: u16) -> Option<IpAddr> {
        parse_ip(self.bytes(kind)?).ok()
    }

    /// Without the zero that ends it.
    pub(super) fn text(self, kind: u16) -> Option<String> {
        let bytes = self.bytes(kind)?;
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

/// A number of four bytes in a fixed part.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}
