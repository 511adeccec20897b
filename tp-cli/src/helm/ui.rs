//! Where `tp helm` writes: stdout is data, stderr is for people.

use std::io::Write;

/// The two streams; a test gives its own.
pub(crate) struct Ui<'a> {
    pub(crate) out: &'a mut (dyn Write + Send),
    pub(crate) err: &'a mut (dyn Write + Send),
}

impl Ui<'_> {
    /// A line for people. A terminal that is gone is no reason to stop half-way.
    pub(crate) fn say(&mut self, line: impl AsRef<str>) {
        let _ = writeln!(self.err, "{}", line.as_ref());
    }

    /// Data. Here a closed pipe matters, and is an error.
    pub(crate) fn print(&mut self, text: &str) -> std::io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}
