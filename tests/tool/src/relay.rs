//! A plain TCP relay: two of these in a row are what any tunnel with two ends has to be measured by.
//!
//! It is as good as one gets without the kernel's help: no delay of small messages, large buffers, all cores.
use std::io;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};

const BUFFER: usize = 64 * 1024;

/// Runs until it is killed.
pub(crate) fn run(listen: &str, target: &str) -> io::Result<Value> {
    crate::server::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(listen, target))
}

async fn serve(listen: &str, target: &str) -> io::Result<Value> {
    let target = crate::client::first(target)?;
    let listener = TcpListener::bind(listen).await?;
    println!("{}", json!({"relaying": target.to_string()}));
    loop {
        let Ok((near, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // how a single connection ends is its two ends' to judge
        tokio::spawn(async move { join(near, TcpStream::connect(target).await?).await });
    }
}

async fn join(mut near: TcpStream, mut far: TcpStream) -> io::Result<()> {
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut near, &mut far, BUFFER, BUFFER).await.map(drop)
}
