//! Many flows at once, and flows whose other end does not read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tp_core::flow::Proto;
use tp_core::tunnel::Frame;

use super::site::{PATIENCE, Site, target};

/// A target that echoes on every connection.
async fn echo() -> std::net::SocketAddr {
    let (listener, address) = target().await;
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    address
}

async fn round_trip(site: &Site, address: std::net::SocketAddr, text: &'static [u8]) {
    let mut stream = site.open(Proto::Tcp, address).await.unwrap();
    stream.tx.send(Frame::Normal(text.into())).await.unwrap();
    let answer = tokio::time::timeout(PATIENCE, stream.rx.recv()).await.expect("an answer in time").unwrap();
    assert_eq!(answer, Some(Frame::Normal(text.into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_flows_at_once() {
    let site = Arc::new(Site::new().await);
    let address = echo().await;
    let open = Arc::new(tokio::sync::Barrier::new(1000));
    let mut flows = JoinSet::new();
    for n in 0u32..1000 {
        let (site, open) = (Arc::clone(&site), Arc::clone(&open));
        flows.spawn(async move {
            let mut stream = site.open(Proto::Tcp, address).await.unwrap();
            // all of them are open at this moment
            open.wait().await;
            stream.tx.send(Frame::Normal(n.to_be_bytes().to_vec().into())).await.unwrap();
            stream.tx.send(Frame::HalfClose).await.unwrap();
            let mut answer = Vec::new();
            loop {
                match stream.rx.recv().await {
                    Ok(Some(Frame::Normal(data))) => answer.extend_from_slice(&data),
                    Ok(Some(Frame::HalfClose)) => break,
                    other => panic!("{other:?} after {answer:?}"),
                }
            }
            assert_eq!(answer, n.to_be_bytes());
        });
    }
    while let Some(flow) = flows.join_next().await {
        flow.unwrap();
    }
}

/// How much a sender got rid of before it was stopped.
async fn settled(sent: &AtomicUsize) -> usize {
    let mut before = usize::MAX;
    loop {
        let now = sent.load(Ordering::Relaxed);
        if now == before {
            return now;
        }
        before = now;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
}

const CHUNK: usize = 64 * 1024;

/// Windows and socket buffers, generously; a queue without bound would swallow all of what is offered.
const BOUND: usize = 48 << 20;
const OFFERED: usize = 1 << 30;

#[tokio::test(flavor = "multi_thread")]
async fn apps_that_do_not_read_stop_their_targets_and_nobody_else() {
    let site = Site::new().await;
    let (listener, address) = target().await;
    let mut idle_readers = Vec::new();
    let mut counters = Vec::new();
    // more than would fit into a connection window of 16 MiB
    for _ in 0..8 {
        idle_readers.push(site.open(Proto::Tcp, address).await.unwrap());
        let (mut socket, _) = listener.accept().await.unwrap();
        let sent = Arc::new(AtomicUsize::new(0));
        counters.push(Arc::clone(&sent));
        tokio::spawn(async move {
            while sent.load(Ordering::Relaxed) < OFFERED && socket.write_all(&[0; CHUNK]).await.is_ok() {
                sent.fetch_add(CHUNK, Ordering::Relaxed);
            }
        });
    }
    for sent in &counters {
        let sent = settled(sent).await;
        assert!(sent < BOUND, "{sent} bytes of a flow that nobody reads");
    }
    round_trip(&site, echo().await, b"still there").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_that_do_not_read_stop_their_apps_and_nobody_else() {
    let site = Site::new().await;
    let (listener, address) = target().await;
    let mut flows = Vec::new();
    let mut counters = Vec::new();
    for _ in 0..32 {
        let mut stream = site.open(Proto::Tcp, address).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let sent = Arc::new(AtomicUsize::new(0));
        counters.push(Arc::clone(&sent));
        let pump = tokio::spawn(async move {
            let chunk = bytes::Bytes::from_static(&[0; CHUNK]);
            while sent.load(Ordering::Relaxed) < OFFERED
                && stream.tx.send(Frame::Normal(chunk.clone())).await.is_ok()
            {
                sent.fetch_add(CHUNK, Ordering::Relaxed);
            }
        });
        flows.push((pump, socket));
    }
    for sent in &counters {
        let sent = settled(sent).await;
        assert!(sent < BOUND, "{sent} bytes of a flow that nobody reads");
    }
    round_trip(&site, echo().await, b"still there").await;
    // one of them reads after all, and gets everything that was sent meanwhile
    let (_, socket) = flows.last_mut().unwrap();
    let before = counters.last().unwrap().load(Ordering::Relaxed);
    let mut read = 0;
    let mut buffer = vec![0; 1 << 20];
    while read < before + (32 << 20) {
        read += socket.read(&mut buffer).await.unwrap();
    }
}
