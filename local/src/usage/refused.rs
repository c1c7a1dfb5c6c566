//! The file of refused lines, beside the file that was uploaded: the same columns and the reason, so that it can be
//! mended and sent again. It is made with the first refused line, and never in place of another.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use csv::Writer;

use super::lines::{Line, REASON};

/// So many such files of one upload may lie beside each other.
const MOST: u32 = 1000;

/// Writes refused lines.
pub struct RefusedFile {
    beside: PathBuf,
    columns: Vec<String>,
    written: Option<(PathBuf, Writer<File>)>,
}

impl RefusedFile {
    /// For the lines of that file.
    pub fn new(beside: &Path, columns: Vec<String>) -> Self {
        Self { beside: beside.to_owned(), columns, written: None }
    }

    /// Adds a line.
    ///
    /// # Errors
    /// If the file cannot be made or written.
    pub fn add(&mut self, line: &Line, reason: &str) -> io::Result<()> {
        let (_, writer) = match &mut self.written {
            Some(written) => written,
            none => {
                let (path, file) = created(&self.beside)?;
                let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(file);
                writer.write_record(self.columns.iter().map(String::as_str).chain([REASON]))?;
                none.insert((path, writer))
            }
        };
        let missing = self.columns.len().saturating_sub(line.fields.len());
        let fields = line.fields.iter().map(String::as_str).chain(std::iter::repeat_n("", missing));
        Ok(writer.write_record(fields.chain([reason]))?)
    }

    /// Where the lines are, all written; none if there were none.
    ///
    /// # Errors
    /// If the last of them cannot be written.
    pub fn finish(self) -> io::Result<Option<PathBuf>> {
        let Some((path, mut writer)) = self.written else { return Ok(None) };
        writer.flush()?;
        Ok(Some(path))
    }
}

/// `usage.csv` gets `usage.refused.csv`; if that is there, `usage.refused-2.csv`.
fn created(beside: &Path) -> io::Result<(PathBuf, File)> {
    let mut path = beside.with_extension("refused.csv");
    for number in 2..=MOST {
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                path = beside.with_extension(format!("refused-{number}.csv"));
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "there are too many files of refused lines"))
}
