//! Reading at an offset: now if the bytes are in memory, or waiting for the disk.

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, ReadWriteFlags};
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;

/// Bytes per read and per chunk; the size at which the cost per call stops mattering, and that
/// bounds what one reader holds (with the read-ahead, times three).
pub(crate) const READ_BYTES: usize = 256 << 10;

/// Reads up to `max_bytes` that are in the page cache; `None` when the disk would have to be waited
/// for, or the file system cannot tell. An empty answer is the end of the file.
pub(crate) fn read_now(file: &File, offset: u64, max_bytes: usize) -> io::Result<Option<Bytes>> {
    let mut buffer = vec![0; max_bytes.min(READ_BYTES)];
    loop {
        let mut slices = [IoSliceMut::new(&mut buffer)];
        match rustix::io::preadv2(file, &mut slices, offset, ReadWriteFlags::NOWAIT) {
            Ok(count) => {
                buffer.truncate(count);
                return Ok(Some(buffer.into()));
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Blocks: reads `length` bytes, fewer only where the file ends.
pub(crate) fn read_waiting(file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
    let mut buffer = Vec::with_capacity(length);
    while buffer.len() < length {
        let at = offset + buffer.len() as u64;
        // A vector may have more room than was asked for.
        let missing = length - buffer.len();
        match rustix::io::pread(file, spare_capacity(&mut buffer), at) {
            Ok(0) => break,
            Ok(count) if count > missing => buffer.truncate(length),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(buffer.into())
}

/// Blocks: hands a range of a file to `each`, in bounded memory. Returns where it ended; before the
/// end of the range where the file ends.
pub(crate) fn read_through(
    file: &File,
    range: Range<u64>,
    mut each: impl FnMut(&[u8]),
) -> io::Result<u64> {
    let mut buffer = vec![0u8; READ_BYTES];
    let mut offset = range.start;
    while offset < range.end {
        let wanted = usize::try_from(range.end - offset).unwrap_or(READ_BYTES).min(READ_BYTES);
        match rustix::io::pread(file, &mut buffer[..wanted], offset) {
            Ok(0) => break,
            Ok(count) => {
                each(&buffer[..count]);
                offset += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(offset)
}
