//! The tunnel's wire format below gRPC: what stands in `TunnelMessage.payload`.
//!
//! Compatible with Telepresence 2.20 (facts/telepresence-wire.md §4), plus our own frames, which are sent only to a
//! peer that offered them in its handshake.

mod conn_id;
mod features;
mod frame;
mod half_close;
mod stream_info;
mod varint;

pub use conn_id::{ConnId, ConnIdError};
pub use features::Features;
pub use frame::{Frame, FrameError};
pub use half_close::{EofPolicy, WithheldEof};
pub use stream_info::{StreamInfo, StreamOk};

/// Protocol version that both sides announce. Versions 0 and 1 are extinct; nobody looks at it (facts §4.2).
pub const VERSION: u64 = 2;

/// Largest payload we put into one Normal frame, in bytes. Telepresence peers accept 4 MiB less the overhead; more
/// than 64 KiB gains nothing and lets one flow delay the others on the same connection. A frame of this size is one packet
/// to the kernel (43 segments of 1 448 bytes; 4 of 15 948 to an app), as 64 KiB are not: the rest would be a second packet,
/// and wake its reader again.
pub const MAX_DATA: usize = 60 * 1024;
