//! One TCP connection of an app, ended in user space: an interface and a socket of smoltcp's for it alone.
//!
//! smoltcp walks over all sockets of an interface for every packet. With one of each, and our own table in front, a packet
//! costs the same however many connections there are.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use smoltcp::iface::{Config, Interface, PollResult};
use smoltcp::socket::tcp::{RecvError, Socket, State as TcpState};
use smoltcp::time::Instant as StackInstant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpListenEndpoint};
use tp_core::flow::Flow;
use tp_core::tunnel::MAX_DATA;

use crate::dataplane::counts::Count;
use crate::dataplane::userspace::memory::Tcp;
use crate::dataplane::userspace::parse::Segment;
use crate::dataplane::userspace::shared::Shared;
use crate::dataplane::userspace::wire::Card;
use crate::dataplane::userspace::{no_room, opening};

/// A small segment is acknowledged with the answer to it, if that comes soon.
const ACK_DELAY: smoltcp::time::Duration = smoltcp::time::Duration::from_millis(10);
/// From here on it is part of a stream, whose sender waits for room: acknowledged at once.
const LARGE: usize = 8 << 10;
/// How long a connection that the relay has let go may wait for the app's end (as net.ipv4.tcp_fin_timeout).
const ORPHAN: Duration = Duration::from_secs(60);
/// The app's kernel has not said a word for that long although it should acknowledge: it is gone (as tcp_retries2).
const UNHEARD: Duration = Duration::from_secs(924);
/// What is still to be said is said within this time; smoltcp's own wait for late packets is longer.
const LAST_WORD: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(1);
/// A connection is looked at this often at most.
const SOON: Duration = Duration::from_millis(1);

pub(super) struct Connection {
    pub(super) flow: Flow,
    /// Of the SYN that opened it.
    pub(super) seq: u32,
    shared: Arc<Shared>,
    state: Mutex<State>,
}

struct State {
    interface: Interface,
    tcp: Tcp,
    mtu: u32,
    /// Bytes that have left the receive ring.
    taken: u32,
    /// The time at which the timers look at us next.
    scheduled: Option<Instant>,
    /// By the app, or because the app has gone.
    reset: bool,
    /// The relay has let go: nobody takes what still comes.
    orphan: Option<Instant>,
    heard: Instant,
}

/// Where a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Lives,
    /// Nothing will be sent or taken any more. What was received can still be read.
    Over,
}

impl Connection {
    /// Waits for the SYN that is given to [`Self::receive`] next.
    pub(super) fn new(shared: &Arc<Shared>, flow: Flow, seq: u32) -> io::Result<Arc<Self>> {
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = shared.random()?;
        let mtu = shared.wire.segments().mtu;
        let mut card = Card { wire: &shared.wire, packet: None, mtu };
        let mut interface = Interface::new(config, &mut card, shared.stack_time());
        interface.set_any_ip(true); // our table has chosen already
        let mut tcp = Tcp::new(&shared.budget)?;
        let here = IpListenEndpoint { addr: Some(IpAddress::from(flow.dest.ip())), port: flow.dest.port() };
        tcp.with(|set, handle| {
            let socket = set.get_mut::<Socket<'_>>(handle);
            socket.set_nagle_enabled(false); // the far end's pace is not ours to change
            socket.listen(here)
        })
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let heard = Instant::now();
        let state =
            State { interface, tcp, mtu, taken: 0, scheduled: None, reset: false, orphan: None, heard };
        Ok(Arc::new(Self { flow, seq, shared: Arc::clone(shared), state: Mutex::new(state) }))
    }

    /// A packet of the app's.
    pub(super) fn receive(self: &Arc<Self>, packet: &[u8], segment: Segment) {
        let bounded = segment.opens.then(|| opening::bounded(packet)).flatten();
        let packet = bounded.as_deref().unwrap_or(packet);
        self.with(|state| {
            state.heard = Instant::now();
            let unwanted = segment.payload > 0 && state.orphan.is_some();
            let (now, wire) = (self.shared.stack_time(), &self.shared.wire);
            let State { interface, tcp, mtu, taken, .. } = state;
            let next_of_ring = self.seq.wrapping_add(1).wrapping_add(*taken);
            let reset = tcp.with(|set, handle| {
                let socket = set.get_mut::<Socket<'_>>(handle);
                if segment.ends_behind(next_of_ring, socket.recv_capacity()) {
                    self.shared.counts().up(Count::BehindTheWindow);
                    return false;
                }
                socket.set_ack_delay((segment.payload < LARGE).then_some(ACK_DELAY));
                if unwanted {
                    socket.abort();
                    return false;
                }
                let (acknowledgment, unheard) = beside_no_room(socket, packet, segment, next_of_ring);
                let heard = acknowledgment.as_deref().into_iter().chain((!unheard).then_some(packet));
                for packet in heard {
                    let mut card = Card { wire, packet: Some(packet), mtu: *mtu };
                    interface.poll_ingress_single(now, &mut card, set);
                }
                segment.reset && !set.get::<Socket<'_>>(handle).is_active()
            });
            state.reset |= reset;
        });
    }

    /// Completes with the app's handshake.
    pub(super) fn poll_established(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.on_socket(|socket, reset| match socket.state() {
            TcpState::SynReceived => {
                socket.register_recv_waker(cx.waker());
                Poll::Pending
            }
            _ if reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            TcpState::Listen | TcpState::Closed => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            _ => Poll::Ready(Ok(())),
        })
    }

    /// Completes when [`Self::poll_read`] has an answer.
    pub(super) fn poll_readable(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.on_socket(|socket, reset| {
            if reset || socket.can_recv() || !socket.may_recv() {
                return Poll::Ready(());
            }
            socket.register_recv_waker(cx.waker());
            Poll::Pending
        })
    }

    /// The next bytes of the app, as many as there are; `None` at their end.
    pub(super) fn poll_read(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<io::Result<Option<Bytes>>> {
        self.with(|state| {
            let read = state.tcp.with(|set, handle| read(set.get_mut(handle), state.reset, cx, most));
            if let Poll::Ready(Ok(Some(bytes))) = &read {
                state.taken = state.taken.wrapping_add(u32::try_from(bytes.len()).unwrap_or(0));
            }
            read
        })
    }

    /// How many bytes the app will get; at least one.
    pub(super) fn poll_write(self: &Arc<Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.on_socket(|socket, reset| match socket.send_slice(data) {
            Ok(0) if !data.is_empty() => {
                socket.register_send_waker(cx.waker());
                Poll::Pending
            }
            Ok(taken) => Poll::Ready(Ok(taken)),
            Err(_) if reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Err(_) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        })
    }

    /// Completes when the app has reset the connection. To be asked once its data have ended.
    pub(super) fn poll_reset(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.on_socket(|socket, reset| {
            if reset {
                return Poll::Ready(());
            }
            socket.register_recv_waker(cx.waker());
            Poll::Pending
        })
    }

    /// No more data for the app: FIN, after what is still to be sent.
    pub(super) fn finish(self: &Arc<Self>) {
        self.on_socket(|socket, _| socket.close());
    }

    /// RST, and nothing after it.
    pub(super) fn abort(self: &Arc<Self>) {
        self.on_socket(|socket, _| socket.abort());
    }

    /// The relay has let go. As close(2) has it: what was sent still arrives, what was not read is a reset.
    pub(super) fn let_go(self: &Arc<Self>) {
        self.with(|state| {
            state.orphan = Some(Instant::now() + ORPHAN);
            state.tcp.with(|set, handle| {
                let socket = set.get_mut::<Socket<'_>>(handle);
                if socket.recv_queue() > 0 { socket.abort() } else { socket.close() }
            });
        });
    }

    /// Whether it was asked for by the app and goes on.
    pub(super) fn was_opened_by(&self, seq: u32) -> bool {
        self.seq == seq
    }

    /// A router on the way to the app takes no larger packets.
    pub(super) fn shrink(self: &Arc<Self>, mtu: u32) {
        self.with(|state| {
            if mtu >= state.mtu {
                return;
            }
            let mut config = Config::new(HardwareAddress::Ip);
            config.random_seed = self.shared.random().unwrap_or_default();
            let mut card = Card { wire: &self.shared.wire, packet: None, mtu };
            state.interface = Interface::new(config, &mut card, self.shared.stack_time());
            state.interface.set_any_ip(true);
            state.mtu = mtu;
        });
    }

    pub(super) fn on_time(self: &Arc<Self>, at: Instant) {
        self.with(|state| {
            if state.scheduled != Some(at) {
                return; // an earlier one has been asked for since
            }
            state.scheduled = None;
            let now = Instant::now();
            let (orphaned, heard) = (state.orphan.is_some_and(|until| until <= now), state.heard);
            let gone = state.tcp.with(|set, handle| {
                let socket = set.get_mut::<Socket<'_>>(handle);
                let unheard = socket.send_queue() > 0 && now.duration_since(heard) >= UNHEARD;
                if orphaned || unheard {
                    socket.abort();
                }
                unheard
            });
            state.reset |= gone;
        });
    }

    fn on_socket<R>(self: &Arc<Self>, work: impl FnOnce(&mut Socket<'_>, bool) -> R) -> R {
        self.with(|state| {
            let reset = state.reset;
            state.tcp.with(|set, handle| work(set.get_mut(handle), reset))
        })
    }

    /// Every change of the state goes this way: what it makes the socket say is said at once.
    fn with<R>(self: &Arc<Self>, work: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = work(&mut state);
        let phase = self.settle(&mut state);
        drop(state);
        if phase == Phase::Over {
            self.shared.closed(self);
        }
        result
    }

    fn settle(self: &Arc<Self>, state: &mut State) -> Phase {
        let (now, wire) = (self.shared.stack_time(), &self.shared.wire);
        let State { interface, tcp, mtu, .. } = state;
        let (next, phase) = tcp.with(|set, handle| {
            let mut card = Card { wire, packet: None, mtu: *mtu };
            while interface.poll_egress(now, &mut card, set) == PollResult::SocketStateChanged {}
            let socket = set.get::<Socket<'_>>(handle);
            let (socket, end) = (socket.state(), socket.remote_endpoint());
            let next = interface.poll_at(now, set);
            let phase = match (socket, end) {
                // What was said on this machine does not get lost: once the last word is said, there is nothing to wait for.
                (TcpState::TimeWait, _) if next.is_none_or(|next| next > now + LAST_WORD) => Phase::Over,
                (TcpState::Closed | TcpState::Listen, None) => Phase::Over,
                _ => Phase::Lives,
            };
            (next, phase)
        });
        if phase == Phase::Lives {
            let next = next.map(|at| self.shared.instant(at));
            self.schedule(state, next.into_iter().chain(state.orphan).min());
        }
        phase
    }

    fn schedule(self: &Arc<Self>, state: &mut State, next: Option<Instant>) {
        let Some(next) = next else { return };
        if state.scheduled.is_none_or(|at| next < at) {
            let at = next.max(Instant::now() + SOON);
            if state.scheduled.is_some_and(|before| before <= at) {
                return;
            }
            state.scheduled = Some(at);
            self.shared.timers.add(at, Arc::downgrade(self));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(
    socket: &mut Socket<'_>,
    reset: bool,
    cx: &mut Context<'_>,
    most: usize,
) -> Poll<io::Result<Option<Bytes>>> {
    let mut bytes = BytesMut::with_capacity(socket.recv_queue().min(most).min(MAX_DATA));
    loop {
        let room = bytes.capacity() - bytes.len();
        let taken = socket.recv(|ring| {
            let part = &ring[..ring.len().min(room)];
            bytes.put_slice(part);
            (part.len(), part.len())
        });
        match taken {
            // the ring's end is not the data's
            Ok(1..) if bytes.len() < bytes.capacity() => {}
            _ if !bytes.is_empty() => return Poll::Ready(Ok(Some(bytes.freeze()))),
            Ok(_) => {
                socket.register_recv_waker(cx.waker());
                return Poll::Pending;
            }
            Err(RecvError::Finished) if !reset => return Poll::Ready(Ok(None)),
            Err(_) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

/// What smoltcp would not hear of a packet outside the window it has told, and whether the packet is nothing but that.
fn beside_no_room(
    socket: &Socket<'_>,
    packet: &[u8],
    segment: Segment,
    next_of_ring: u32,
) -> (Option<Vec<u8>>, bool) {
    if !matches!(socket.state(), TcpState::Established | TcpState::FinWait1 | TcpState::FinWait2) {
        return (None, false); // the app's end has arrived: it sends no more, and has a number of its own
    }
    let queued = socket.recv_queue();
    let arrived = next_of_ring.wrapping_add(u32::try_from(queued).unwrap_or(0));
    let ahead = segment.seq.wrapping_sub(arrived).cast_signed();
    let bare = segment.payload == 0 && !segment.ends;
    let full = no_room::is_full(socket.recv_capacity(), queued);
    if (bare && ahead > 0) || (!bare && ahead >= 0 && full) {
        let acknowledgment = no_room::acknowledgment(packet, arrived);
        let unheard = bare && acknowledgment.is_some();
        return (acknowledgment, unheard);
    }
    (None, false)
}

/// Times of smoltcp count from the start of the dataplane.
pub(super) fn stack_time(since: Instant) -> StackInstant {
    StackInstant::from_micros(i64::try_from(since.elapsed().as_micros()).unwrap_or(i64::MAX))
}
