//! HTTP/2 without a task or a copy between a tunnel stream and its connection.
//!
//! tonic's own transport moves each message through a channel, a task and a buffer per stream. Here a relay writes to the
//! stream of its connection itself, and what it receives is a slice of what was read. All other calls are tonic's, over
//! the same connections ([`Channel`], [`serve`]).

mod body;
mod channel;
mod delays;
mod gather;
mod held;
mod keep_alive;
mod link;
mod piece;
mod server;
mod unsent;

pub use body::ReceivedBody;
pub use channel::{Channel, Connecting, Connector, Io};
pub use link::Link;
pub use piece::Piece;
pub use server::{Answer, serve};

pub(crate) use held::{Flow, Flows};
pub(crate) use unsent::Unsent;

use tonic::{Code, Status};
use tp_core::tunnel::MAX_DATA;

/// As large as HTTP/2 allows: if the connection had a smaller window, a few readers that do not read would use it up, and
/// all other flows would stand still.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// Receive window of one flow, in bytes, as long as little waits for its reader.
const STREAM_WINDOW: u32 = tp_core::window::FULL;

/// Largest frame we take, in bytes: the largest message of our own, a whole read of a socket, goes into one.
const FRAME: u32 = 1 << 18;

/// Sent and not yet written, in bytes per flow: four whole reads of a socket with what stands before each.
const SEND_BUFFER: usize = 4 * (MAX_DATA + piece::HEAD);

/// What tonic makes of the same error. A connection that broke is `Unavailable`: the call may be made again.
pub(crate) fn status_of(error: h2::Error) -> Status {
    if error.is_io() || error.is_go_away() {
        return Status::new(Code::Unavailable, format!("the connection broke: {error}"));
    }
    Status::from(error)
}
