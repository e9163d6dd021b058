//! The archive format (POSIX.1-2017 `pax`, with what GNU tar writes for long names and large sizes).
//!
//! Written by hand because we need little of it and read it from strangers: regular files only,
//! every header bounded, and where a file's bytes lie in the archive so that they can be read in any
//! order. What is written depends on the content alone (no times, no owners), so that the same
//! images make the same archive.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

const BLOCK: usize = 512;
/// The largest size that eleven octal digits hold; larger ones stand in a pax record.
const OCTAL_MAX: u64 = 0o777_7777_7777;
/// Characters of a path in the header itself; longer ones stand in a pax record.
const PATH_MAX: usize = 100;
/// The largest extended header that is read: a path and some numbers.
const EXTENSION_BYTES_MAX: u64 = 64 << 10;
/// Entries that are read of one archive: bounds the memory that a stranger's archive takes.
const ENTRIES_MAX: usize = 1_000_000;

/// Where a regular file lies in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The first byte, from the beginning of the archive.
    pub(crate) offset: u64,
    /// How many bytes.
    pub(crate) size_bytes: u64,
}

/// Writes an archive. The caller writes exactly as many bytes of a file as it announced.
pub(crate) struct Writer<W> {
    out: W,
    left: u64,
    padding: usize,
}

impl<W: Write> Writer<W> {
    /// An archive without entries.
    pub(crate) fn new(out: W) -> Self {
        Self { out, left: 0, padding: 0 }
    }

    /// Begins a file of this size.
    pub(crate) fn begin(&mut self, path: &str, size_bytes: u64) -> io::Result<()> {
        self.end()?;
        self.out.write_all(&headers(path, size_bytes))?;
        self.left = size_bytes;
        self.padding = padding(size_bytes);
        Ok(())
    }

    /// Writes bytes of the file that was begun.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let rest = self.left.checked_sub(bytes.len() as u64);
        self.left = rest.ok_or_else(|| io::Error::other("more bytes than were announced"))?;
        self.out.write_all(bytes)
    }

    fn end(&mut self) -> io::Result<()> {
        if self.left > 0 {
            return Err(io::Error::other("less bytes than were announced"));
        }
        self.out.write_all(&[0; BLOCK][..std::mem::take(&mut self.padding)])
    }

    /// Ends the archive, and gives back what it was written to.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.end()?;
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// How many bytes an archive of a file of this size and path takes, but for the end of the archive.
fn padding(size_bytes: u64) -> usize {
    let over = usize::try_from(size_bytes % BLOCK as u64).unwrap_or(0);
    (BLOCK - over) % BLOCK
}

fn headers(path: &str, size_bytes: u64) -> Vec<u8> {
    let mut records = String::new();
    if path.len() > PATH_MAX {
        records.push_str(&record("path", path));
    }
    if size_bytes > OCTAL_MAX {
        records.push_str(&record("size", &size_bytes.to_string()));
    }
    let mut bytes = Vec::with_capacity(3 * BLOCK);
    if !records.is_empty() {
        bytes.extend(header("PaxHeaders/next", records.len() as u64, b'x'));
        bytes.extend(records.as_bytes());
        bytes.resize(bytes.len() + padding(records.len() as u64), 0);
    }
    bytes.extend(header(path, size_bytes, b'0'));
    bytes
}

/// `LENGTH key=value\n`, where the length counts itself.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}

fn header(path: &str, size_bytes: u64, kind: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &path.as_bytes()[..path.len().min(PATH_MAX)]);
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    let size_bytes = if size_bytes > OCTAL_MAX { 0 } else { size_bytes };
    put(124, format!("{size_bytes:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Where every regular file of an archive lies. Reads headers only.
pub(crate) fn scan(archive: &mut (impl Read + Seek)) -> io::Result<BTreeMap<String, Place>> {
    let end = archive.seek(SeekFrom::End(0))?;
    let mut files = BTreeMap::new();
    let (mut at, mut next) = (0, Extension::default());
    for _ in 0..ENTRIES_MAX {
        let Some(block) = block_at(archive, at, end)? else { return Ok(files) };
        let kind = block[156];
        let size_bytes = match (kind, next.size_bytes) {
            (b'x' | b'g' | b'L', _) | (_, None) => number(&block[124..136])?,
            (_, Some(size)) => size,
        };
        let offset = at + BLOCK as u64;
        let after = offset.checked_add(size_bytes).and_then(|end| {
            let padding = padding(size_bytes) as u64;
            end.checked_add(padding)
        });
        at = after.filter(|after| *after <= end).ok_or_else(cut_short)?;
        match kind {
            b'x' => next.read_pax(&extension(archive, offset, size_bytes)?)?,
            b'L' => next.path = Some(long_name(&extension(archive, offset, size_bytes)?)?),
            // Global records say nothing that we look at.
            b'g' => {}
            b'0' | 0 | b'7' => {
                let path = safe(&std::mem::take(&mut next).path_of(&block)?)?;
                if files.insert(path.clone(), Place { offset, size_bytes }).is_some() {
                    return Err(bad(format!("{path} is in it twice")));
                }
            }
            b'5' => {
                safe(&std::mem::take(&mut next).path_of(&block)?)?;
            }
            other => {
                let path = std::mem::take(&mut next).path_of(&block)?;
                let kind = char::from(other).escape_default();
                return Err(bad(format!("{path} is a link or no regular file (type {kind})")));
            }
        }
    }
    Err(bad(format!("it has more than {ENTRIES_MAX} entries")))
}

/// What extended headers say about the next entry.
#[derive(Default)]
struct Extension {
    path: Option<String>,
    size_bytes: Option<u64>,
}

impl Extension {
    fn read_pax(&mut self, mut records: &[u8]) -> io::Result<()> {
        let wrong = || bad("an extended header cannot be read".to_owned());
        while !records.is_empty() {
            let space = records.iter().position(|byte| *byte == b' ').ok_or_else(wrong)?;
            let length = std::str::from_utf8(&records[..space]).ok().and_then(|t| t.parse().ok());
            let length: usize = length.ok_or_else(wrong)?;
            let record = records.get(space + 1..length).ok_or_else(wrong)?;
            let record = record.strip_suffix(b"\n").ok_or_else(wrong)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match (key, std::str::from_utf8(value)) {
                (b"path", Ok(path)) => self.path = Some(path.to_owned()),
                (b"size", Ok(size)) => self.size_bytes = Some(size.parse().map_err(|_| wrong())?),
                (b"path" | b"size", Err(_)) => return Err(wrong()),
                (key, _) if key.starts_with(b"GNU.sparse") => {
                    return Err(bad("it has sparse files".to_owned()));
                }
                _ => {}
            }
            records = &records[length..];
        }
        Ok(())
    }

    fn path_of(self, block: &[u8; BLOCK]) -> io::Result<String> {
        if let Some(path) = self.path {
            return Ok(path);
        }
        let name = until_nul(&block[..100])?;
        let prefix = if &block[257..263] == b"ustar\0" { until_nul(&block[345..500])? } else { "" };
        Ok(if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") })
    }
}

/// The header at an offset; `None` at the end of the archive.
fn block_at(
    archive: &mut (impl Read + Seek),
    at: u64,
    end: u64,
) -> io::Result<Option<[u8; BLOCK]>> {
    if at + BLOCK as u64 > end {
        return Err(cut_short());
    }
    let mut block = [0; BLOCK];
    archive.seek(SeekFrom::Start(at))?;
    archive.read_exact(&mut block)?;
    if block == [0; BLOCK] {
        return Ok(None);
    }
    if block[..2] == [0x1f, 0x8b] || block[..4] == [0x28, 0xb5, 0x2f, 0xfd] {
        return Err(bad("it is compressed: uncompress it first".to_owned()));
    }
    let told = number(&block[148..156])?;
    let sum = |range: std::ops::Range<usize>| {
        block[range].iter().map(|byte| u64::from(*byte)).sum::<u64>()
    };
    if told != sum(0..148) + 8 * u64::from(b' ') + sum(156..BLOCK) {
        return Err(bad(format!("the header at byte {at} is none of a tar archive, or damaged")));
    }
    Ok(Some(block))
}

fn extension(archive: &mut (impl Read + Seek), offset: u64, size: u64) -> io::Result<Vec<u8>> {
    if size > EXTENSION_BYTES_MAX {
        return Err(bad("an extended header is larger than 64 KiB".to_owned()));
    }
    archive.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    archive.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn long_name(bytes: &[u8]) -> io::Result<String> {
    until_nul(bytes).map(str::to_owned)
}

fn until_nul(field: &[u8]) -> io::Result<&str> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    std::str::from_utf8(&field[..end]).map_err(|_| bad("a path is not UTF-8".to_owned()))
}

/// A number in octal, or in base 256 with the highest bit set (GNU).
fn number(field: &[u8]) -> io::Result<u64> {
    let wrong = || bad("a header has a number that cannot be read".to_owned());
    if field[0] & 0x80 != 0 {
        let (high, low) = field.split_at(field.len() - 8);
        if high[0] != 0x80 || high[1..].iter().any(|byte| *byte != 0) {
            return Err(wrong());
        }
        return Ok(low.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    }
    let text = until_nul(field)?.trim_matches(' ');
    if text.is_empty() {
        return Ok(0);
    }
    // `from_str_radix` would take a sign.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    u64::from_str_radix(text, 8).map_err(|_| wrong())
}

/// A path below the archive's root, without `./` before it.
fn safe(path: &str) -> io::Result<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if path.starts_with('/') || parts.contains(&"..") || path.contains('\0') {
        return Err(bad(format!("{path:?} leads out of the archive")));
    }
    Ok(parts.join("/"))
}

fn bad(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn cut_short() -> io::Error {
    bad("it is cut short".to_owned())
}

#[cfg(test)]
#[path = "tar_tests.rs"]
mod tests;
