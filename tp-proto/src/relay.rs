//! The relay: joins one socket and one tunnel stream, in both directions, until both have ended.
//!
//! The same code runs in the daemon (socket = the app's) and at the far end (socket = the dialled one). What a socket
//! can say travels: data, end of data, reset. What a Telepresence peer cannot express is approximated as far as its
//! wire allows (facts/telepresence-wire.md §4.6).

mod down;
mod socket;
mod up;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tp_core::tunnel::{EofPolicy, Frame};

use crate::stream::{FrameReceiver, FrameSender, Role, TunnelStream};

pub use socket::{
    Abort, DatagramSocket, Datagrams, SocketReader, SocketWriter, TcpReader, TcpWriter, tcp_halves,
};

/// How long a finished opener waits for the far end to finish its half of the gRPC call.
const LINGER: Duration = Duration::from_secs(10);

/// How a relay ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Both directions ended regularly.
    Closed,
    /// The socket was reset by its own peer; the tunnel's other end was told.
    SocketReset,
    /// The other end was reset, or the tunnel broke: the socket was reset.
    TunnelReset,
}

/// What went through, in bytes of payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    pub to_tunnel: u64,
    pub to_socket: u64,
    pub ending: Ending,
}

/// What the direction towards the socket has heard from the far end; the other direction acts on it.
#[derive(Clone, Copy, Debug)]
struct Heard {
    last: Instant,
    /// The far end has no more data. It may still take ours, unless `closed`.
    no_more_data: bool,
    /// The far end has closed altogether: a Telepresence peer's only way to end.
    closed: bool,
}

/// Set while the direction towards the socket writes to it, or is over: the other one hears of a reset of the far end in its
/// place. Nobody is woken by a change, and a write that does not wait is not seen: both are one task, `down` is polled first.
#[derive(Debug, Default)]
struct Deaf(AtomicBool);

impl Deaf {
    fn set(&self, deaf: bool) {
        self.0.store(deaf, Ordering::Relaxed);
    }

    fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Which end of the tunnel stream this is, and what the two ends can say to each other.
#[derive(Clone, Copy, Debug)]
struct Side {
    role: Role,
    policy: EofPolicy,
}

/// Relays until both directions have ended. Dropping the future closes both ends.
pub async fn relay(
    mut reader: impl SocketReader,
    mut writer: impl SocketWriter,
    tunnel: TunnelStream,
) -> Report {
    let TunnelStream { tx, mut rx, features, role } = tunnel;
    let side = Side { role, policy: EofPolicy::for_features(features) };
    let (heard_tx, heard) =
        watch::channel(Heard { last: Instant::now(), no_more_data: false, closed: false });
    let mut report = Report { to_tunnel: 0, to_socket: 0, ending: Ending::Closed };
    let mut tx = Some(tx);
    {
        let (said_tx, mut said) = oneshot::channel();
        let mut no_more_data = heard.clone();
        let deaf = Deaf::default();
        let up = up::run(&mut reader, &mut tx, side, heard, &deaf, said_tx, &mut report.to_tunnel);
        let down = down::run(&mut rx, &mut writer, side, heard_tx, &deaf, &mut report.to_socket);
        tokio::pin!(up, down);
        // Each direction ends by saying so, or by ending its future; both stay to hear of a late reset meanwhile.
        let (mut up_said, mut up_over, mut down_said, mut down_over) = (false, false, false, false);
        while !((up_said || up_over) && (down_said || down_over)) {
            tokio::select! {
                // Cheaper than a fair choice, and nothing here is ready again and again. What a direction says is heard
                // right after it, so that its last word and the end of the call leave together.
                biased;
                end = &mut down, if !down_over => match end { // before `up`, which looks whether it is deaf
                    down::End::Closed => { deaf.set(true); down_over = true }
                    down::End::SocketReset => { report.ending = Ending::SocketReset; break }
                    down::End::TunnelReset => { report.ending = Ending::TunnelReset; break }
                },
                _ = no_more_data.wait_for(|heard| heard.no_more_data), if !down_said && !down_over => down_said = true,
                end = &mut up, if !up_over => match end {
                    up::End::NoMoreData => up_over = true,
                    up::End::SocketReset => { report.ending = Ending::SocketReset; break }
                    up::End::TunnelReset | up::End::WroteAfterClose => { report.ending = Ending::TunnelReset; break }
                },
                _ = &mut said, if !up_said && !up_over => up_said = true,
            }
        }
    }
    match report.ending {
        Ending::Closed => {}
        Ending::SocketReset => say_reset(tx.as_mut(), side.policy),
        Ending::TunnelReset => writer.reset(),
    }
    drop(tx);
    finish(rx, role).await;
    report
}

fn say_reset(tx: Option<&mut FrameSender>, policy: EofPolicy) {
    if let Some(tx) = tx {
        let frame = if policy == EofPolicy::HalfClose { Frame::Reset } else { Frame::Disconnect };
        tx.reset(frame);
    }
}

/// Lets the frames that are still under way arrive: dropping the receiver of an opener cancels the whole call.
async fn finish(mut rx: FrameReceiver, role: Role) {
    if role == Role::Opener {
        let _ = tokio::time::timeout(LINGER, async { while let Ok(Some(_)) = rx.recv().await {} }).await;
    }
}
