//! Command-line flags of the kit's own programs: `--name value`, and no more than that, so that
//! crates which only want the registry need not build an argument parser.

use std::collections::BTreeMap;
use std::str::FromStr;

/// The flags of a command line. Errors are one line for the person who typed it.
#[derive(Debug, Default)]
pub struct Flags {
    values: BTreeMap<String, Vec<String>>,
}

impl Flags {
    /// Reads `--name value` and `--name=value` for the names in `valued`, `--name` for those in
    /// `bare`.
    ///
    /// # Errors
    /// Anything else on the command line.
    pub fn parse(
        arguments: impl IntoIterator<Item = String>,
        valued: &[&str],
        bare: &[&str],
    ) -> Result<Self, String> {
        let mut flags = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let text = argument.strip_prefix("--").ok_or(format!("unexpected `{argument}`"))?;
            let (name, given) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (text, None),
            };
            let value = match (valued.contains(&name), bare.contains(&name)) {
                (true, _) => given.or_else(|| arguments.next()),
                (_, true) => Some(String::new()),
                _ => return Err(format!("unknown flag `--{name}`; there are {valued:?} {bare:?}")),
            };
            let value = value.ok_or(format!("`--{name}` needs a value"))?;
            flags.values.entry(name.to_owned()).or_default().push(value);
        }
        Ok(flags)
    }

    /// Whether the flag was given.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Every value given for the flag.
    pub fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// The last value given for the flag.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.all(name).last().map(String::as_str)
    }

    /// The last value given, parsed.
    ///
    /// # Errors
    /// A value that does not parse.
    pub fn value<T: FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| format!("`--{name} {text}` makes no sense"))
    }
}

/// A size in bytes: digits with an optional `K`, `M`, `G` (powers of 1024; `KiB` and so on too).
pub fn size_bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor: u64 = match text[digits.len()..].trim_end_matches("iB") {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        unit => return Err(format!("unknown unit `{unit}`; there are K, M and G")),
    };
    let number: u64 = digits.parse().map_err(|_| format!("`{text}` is no size"))?;
    number.checked_mul(factor).ok_or(format!("`{text}` is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, String> {
        Flags::parse(line.split_whitespace().map(str::to_owned), &["size", "to"], &["quick"])
    }

    #[test]
    fn flags_repeat_and_take_values_either_way() {
        let flags = parse("--size 1 --quick --size=2 --to x").expect("valid");
        assert_eq!(flags.all("size"), ["1", "2"]);
        assert_eq!((flags.text("to"), flags.has("quick")), (Some("x"), true));
        assert_eq!(flags.value::<u64>("size"), Ok(Some(2)));
        assert!(flags.value::<u64>("to").is_err());
    }

    #[test]
    fn what_is_unknown_is_refused() {
        for line in ["--speed 1", "size", "--size"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(size_bytes("100"), Ok(100));
        assert_eq!(size_bytes("3K"), Ok(3072));
        assert_eq!(size_bytes("1GiB"), Ok(1 << 30));
        assert!(size_bytes("1T").is_err() && size_bytes("G").is_err() && size_bytes("").is_err());
    }
}
