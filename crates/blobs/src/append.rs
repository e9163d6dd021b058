//! Writing chunks at the end of a staged file: parts and uploads grow this way.

use crate::limit::WriteLimit;
use bytes::Bytes;
use std::fs::File;
use std::io::{self, IoSlice};

/// Chunks per system call; below every system's limit (`IOV_MAX`, 1024 on Linux).
const SLICES_MAX: usize = 256;

/// Blocks: writes chunks from `start` on, in as few calls as may be, and returns where they end.
/// After an error none of them counts: the file is cut off at `start` again. Should that fail too,
/// what lies behind `start` is a beginning of these chunks.
pub(crate) fn append(
    file: &File,
    limit: &WriteLimit,
    chunks: &[Bytes],
    start: u64,
) -> io::Result<u64> {
    let mut offset = start;
    for some in chunks.chunks(SLICES_MAX) {
        if let Err(error) = write(file, limit, some, &mut offset) {
            let _ = file.set_len(start);
            return Err(error);
        }
    }
    Ok(offset)
}

fn write(file: &File, limit: &WriteLimit, chunks: &[Bytes], offset: &mut u64) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> =
        chunks.iter().filter(|chunk| !chunk.is_empty()).map(|chunk| IoSlice::new(chunk)).collect();
    let mut slices = slices.as_mut_slice();
    while let Some(first) = slices.first() {
        let wanted = slices.iter().map(|slice| slice.len()).sum();
        let allowed = limit.take(wanted)?;
        let written = if allowed == wanted {
            rustix::io::pwritev(file, slices, *offset)
        } else {
            let some = &first[..allowed.min(first.len())];
            rustix::io::pwrite(file, some, *offset)
        };
        match written {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                IoSlice::advance_slices(&mut slices, count);
                *offset += count as u64;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
