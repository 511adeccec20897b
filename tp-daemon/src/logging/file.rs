//! A log file that starts anew with each daemon and whenever it has grown too large. One predecessor is kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

const MAX_BYTES: u64 = 16 << 20;

#[derive(Clone, Debug)]
pub struct LogFile(Arc<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    written: u64,
    is_stderr: bool,
}

impl LogFile {
    /// Opens a new file at `path`; what is there becomes `path.1`.
    pub fn open(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let file = anew(path)?;
        Ok(Self(Arc::new(Mutex::new(Open { path: path.to_owned(), file, written: 0, is_stderr: false }))))
    }

    /// For somebody who has no place for a log.
    pub fn nowhere() -> io::Result<Self> {
        let path = PathBuf::from("/dev/null");
        let file = OpenOptions::new().write(true).open(&path)?;
        Ok(Self(Arc::new(Mutex::new(Open { path, file, written: 0, is_stderr: false }))))
    }

    /// Panics and the C library write to stderr.
    pub fn become_stderr(&self) -> io::Result<()> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.is_stderr = true;
        Ok(nix::unistd::dup2_stderr(&open.file)?)
    }
}

impl Open {
    fn rotate(&mut self) -> io::Result<()> {
        if !self.file.metadata()?.is_file() {
            return Ok(());
        }
        self.file = anew(&self.path)?;
        self.written = 0;
        if self.is_stderr {
            nix::unistd::dup2_stderr(&self.file)?;
        }
        Ok(())
    }
}

fn anew(path: &Path) -> io::Result<File> {
    let mut previous = path.as_os_str().to_owned();
    previous.push(".1");
    match fs::rename(path, previous) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

impl Write for &LogFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.written > MAX_BYTES {
            // if that fails (a full disk), the old file goes on
            let _ = open.rotate();
            open.written = 0;
        }
        let written = open.file.write(buf)?;
        open.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).file.flush()
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = &'a LogFile;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_previous_log_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tp/logs/daemon.log");
        for text in ["first", "second", "third"] {
            let log = LogFile::open(&path).unwrap();
            (&log).write_all(text.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "third");
        assert_eq!(fs::read_to_string(path.with_extension("log.1")).unwrap(), "second");
    }

    #[test]
    fn a_log_does_not_grow_without_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("daemon.log");
        let log = LogFile::open(&path).unwrap();
        for _ in 0..40 {
            (&log).write_all(&vec![b'x'; 1 << 20]).unwrap();
        }
        let size = |path: &Path| fs::metadata(path).unwrap().len();
        assert!(size(&path) + size(&path.with_extension("log.1")) <= 2 * (MAX_BYTES + (2 << 20)));
    }
}
