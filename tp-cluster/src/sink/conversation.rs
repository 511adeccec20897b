//! One TCP connection of the sink, from its first byte to its end.

use std::io;
use std::sync::LazyLock;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tp_core::sink::{BLOCK, Blocks, LAST_TURN, Mode};

/// Of an echo. Ten thousand connections that say little must not cost what a bulk transfer costs.
const LITTLE: usize = 16 * 1024;
/// Enough for the first byte and what comes with it.
const FIRST: usize = 64;

/// What [`Mode::Source`] sends, the same for all.
static BULK: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0x5a; BLOCK]);

/// Does what the peer's first byte asks for. One that asks for something unknown is left.
pub(super) async fn hold(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut first = [0; FIRST];
    let length = stream.read(&mut first).await?;
    let Some((mode, rest)) = first[..length].split_first() else { return Ok(()) };
    match Mode::from_byte(*mode) {
        Some(Mode::Discard) => discard(&mut stream, rest.len()).await,
        Some(Mode::Blocks) => blocks(&mut stream, rest).await,
        Some(Mode::Source) if rest.is_empty() => source(&mut stream).await,
        Some(Mode::Echo) => echo(&mut stream, rest).await,
        Some(Mode::Turns) => turns(&mut stream, rest).await,
        Some(Mode::Source) | None => Ok(()),
    }
}

async fn discard(stream: &mut TcpStream, already: usize) -> io::Result<()> {
    let mut buffer = vec![0; BLOCK];
    let mut count = already as u64;
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.write_all(&count.to_be_bytes()).await,
            length => count += length as u64,
        }
    }
}

async fn blocks(stream: &mut TcpStream, already: &[u8]) -> io::Result<()> {
    let mut buffer = vec![0; BLOCK];
    let mut blocks = Blocks::default();
    let mut ended = blocks.feed(already);
    while !ended {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            length => ended = blocks.feed(&buffer[..length]),
        }
    }
    stream.write_all(&blocks.count().to_be_bytes()).await
}

async fn source(stream: &mut TcpStream) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    let mut word = [0];
    let send = async {
        loop {
            writer.write_all(&BULK).await?;
        }
    };
    tokio::select! {
        broken = send => broken,
        said = reader.read(&mut word) => said.map(drop),
    }
}

async fn echo(stream: &mut TcpStream, already: &[u8]) -> io::Result<()> {
    stream.write_all(already).await?;
    let mut buffer = vec![0; LITTLE];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length]).await?,
        }
    }
}

async fn turns(stream: &mut TcpStream, already: &[u8]) -> io::Result<()> {
    let mut buffer = [0; FIRST];
    buffer[..already.len()].copy_from_slice(already);
    let mut length = already.len();
    loop {
        stream.write_all(&buffer[..length]).await?;
        if buffer[..length].contains(&LAST_TURN) {
            return Ok(());
        }
        length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
    }
}
