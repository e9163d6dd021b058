//! What the targets share: pieces of an input, an issuer with its key, and facts made of bytes.

pub mod facts;
pub mod issuer;

/// The parts of an input, as its seeds have them: text, divided by lines that hold `---` alone. None
/// where it is no text or has too few.
pub fn parts<const N: usize>(data: &[u8]) -> Option<[&str; N]> {
    let mut all = std::str::from_utf8(data).ok()?.splitn(N, "\n---\n");
    let mut parts = [""; N];
    for part in &mut parts {
        *part = all.next()?;
    }
    Some(parts)
}
