//! What is written is read again, also by rules that others follow; what is hostile is refused.

use super::*;
use std::io::Cursor;

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (path, bytes) in files {
        writer.begin(path, bytes.len() as u64).unwrap();
        writer.write(bytes).unwrap();
    }
    writer.finish().unwrap()
}

fn scanned(bytes: &[u8]) -> Result<BTreeMap<String, Place>, String> {
    scan(&mut Cursor::new(bytes)).map_err(|error| error.to_string())
}

fn content<'a>(bytes: &'a [u8], place: &Place) -> &'a [u8] {
    let from = usize::try_from(place.offset).unwrap();
    &bytes[from..from + usize::try_from(place.size_bytes).unwrap()]
}

/// One entry of any kind under any name, and the end.
fn entry(path: &str, kind: u8) -> Vec<u8> {
    let mut bytes = header(path, 0, kind).to_vec();
    bytes.resize(bytes.len() + 2 * BLOCK, 0);
    bytes
}

#[test]
fn what_is_written_is_read_again_whatever_its_length() {
    let long = format!("blobs/sha512/{}", "a".repeat(128));
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("oci-layout", b"{}".to_vec()),
        ("empty", Vec::new()),
        ("block", vec![7; 512]),
        (&long, vec![9; 513]),
    ];
    let borrowed: Vec<(&str, &[u8])> = files.iter().map(|(p, b)| (*p, b.as_slice())).collect();
    let bytes = archive(&borrowed);
    assert_eq!(bytes.len() % BLOCK, 0);
    let found = scanned(&bytes).unwrap();
    assert_eq!(found.len(), files.len());
    for (path, written) in &files {
        assert_eq!(content(&bytes, &found[*path]), written, "{path}");
    }
    assert_eq!(bytes, archive(&borrowed), "the same files make the same archive");
}

/// An archive that is mostly a hole: nobody has 9 GiB for a test.
struct Hole {
    head: Vec<u8>,
    tail: Vec<u8>,
    length: u64,
    at: u64,
}

impl Read for Hole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let tail_from = self.length - self.tail.len() as u64;
        for (count, byte) in buffer.iter_mut().enumerate() {
            let at = self.at + count as u64;
            if at >= self.length {
                self.at = self.length;
                return Ok(count);
            }
            let index = usize::try_from(at).unwrap();
            *byte = match at.checked_sub(tail_from) {
                Some(in_tail) => self.tail[usize::try_from(in_tail).unwrap()],
                None => self.head.get(index).copied().unwrap_or(0xff),
            };
        }
        self.at += buffer.len() as u64;
        Ok(buffer.len())
    }
}

impl Seek for Hole {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(0) => self.length,
            _ => return Err(io::Error::other("not needed")),
        };
        Ok(self.at)
    }
}

#[test]
fn sizes_beyond_eight_gibibytes_are_written_and_read() {
    const SIZE: u64 = (9 << 30) + 1;
    let pax = headers("big", SIZE);
    let mut gnu = header("big", 0, b'0');
    gnu[124..136].fill(0);
    gnu[124] = 0x80;
    gnu[128..136].copy_from_slice(&SIZE.to_be_bytes());
    gnu[148..156].fill(b' ');
    let sum: u32 = gnu.iter().map(|byte| u32::from(*byte)).sum();
    gnu[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    for head in [pax, gnu.to_vec()] {
        let offset = head.len() as u64;
        let mut tail = headers("after", 0);
        tail.resize(tail.len() + 2 * BLOCK, 0);
        let length = offset + SIZE + padding(SIZE) as u64 + tail.len() as u64;
        let found = scan(&mut Hole { head, tail, length, at: 0 }).unwrap();
        assert_eq!(found["big"], Place { offset, size_bytes: SIZE });
        assert!(found.contains_key("after"));
    }
}

#[test]
fn names_of_other_tools_are_read() {
    let mut bytes = header("././@LongLink", 121, b'L').to_vec();
    bytes.extend([b'n'; 120]);
    bytes.resize(2 * BLOCK, 0);
    bytes.extend(entry("short", b'0'));
    assert!(scanned(&bytes).unwrap().contains_key(&"n".repeat(120)));
    let mut bytes = header("./", 0, b'5').to_vec();
    bytes.extend(entry("./blobs//x", b'0'));
    assert!(scanned(&bytes).unwrap().contains_key("blobs/x"));
}

#[test]
fn what_is_hostile_is_refused_and_named() {
    for (bytes, told) in [
        (entry("/etc/passwd", b'0'), "leads out"),
        (entry("blobs/../../x", b'0'), "leads out"),
        (entry("..", b'5'), "leads out"),
        (entry("blobs/sha256/x", b'2'), "blobs/sha256/x is a link"),
        (entry("hard", b'1'), "hard is a link"),
        (entry("null", b'3'), "null is a link or no regular file"),
        (archive(&[("a", b"1"), ("./a", b"2")]), "a is in it twice"),
        (header("cut", 1 << 30, b'0').to_vec(), "cut short"),
        (header("no end", 0, b'0').to_vec(), "cut short"),
        (header("many", 1 << 20, b'x').into_iter().chain(vec![0; 2 << 20]).collect(), "64 KiB"),
        (b"\x1f\x8b".iter().copied().chain([0; 600]).collect(), "compressed"),
        (vec![b'x'; 2000], "cannot be read"),
        (Vec::new(), "cut short"),
    ] {
        let error = scanned(&bytes).unwrap_err();
        assert!(error.contains(told), "{error}, not {told}");
    }
    let mut damaged = archive(&[("a", b"1")]);
    damaged[0] = b'b';
    assert!(scanned(&damaged).unwrap_err().contains("damaged"));
}

#[test]
fn broken_records_are_refused() {
    for records in
        ["", "5 a=b\n", "99 path=x\n", "x path=y\n", "8 path=x", "12 size=-1\n", "0 a=b\n"]
    {
        let mut bytes = header("pax", records.len() as u64, b'x').to_vec();
        bytes.extend(records.as_bytes());
        bytes.resize(2 * BLOCK, 0);
        bytes.extend(entry("file", b'0'));
        assert_eq!(scanned(&bytes).is_ok(), records.is_empty(), "{records:?}");
    }
}

#[test]
fn a_file_has_as_many_bytes_as_were_announced() {
    let mut writer = Writer::new(Vec::new());
    writer.begin("a", 2).unwrap();
    assert!(writer.write(b"123").is_err());
    let mut writer = Writer::new(Vec::new());
    writer.begin("a", 2).unwrap();
    assert!(writer.begin("b", 0).is_err());
}
