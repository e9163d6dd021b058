//! Facts for expressions, made of bytes and within the bounds that the schema reckons with.

use policy::cel::{Roots, Schema, Type, Value};

/// As long as the schema reckons with.
const LONG: &str = {
    const BYTES: [u8; 256] = [b'a'; 256];
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => "",
    }
};

/// Texts on which functions may stumble.
const TEXTS: [&str; 13] = [
    "",
    "a",
    "docker.io/library/alpine",
    "v1.2.3-rc.1+build",
    "1.0",
    "2026-01-31T12:00:00Z",
    "336h",
    LONG,
    "ünïcödé ☃",
    "a/b/c/**",
    "-9223372036854775808",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
    "true",
];
const INTS: [i64; 6] = [0, 1, -1, i64::MIN, i64::MAX, 1_800_000_000];
const DOUBLES: [f64; 6] = [0.0, -0.0, 1.5, f64::NAN, f64::INFINITY, 1e300];

/// Bytes, read one after the other and from the beginning again.
struct Bytes<'d> {
    data: &'d [u8],
    at: usize,
}

impl Bytes<'_> {
    fn next(&mut self) -> usize {
        let byte = self.data.get(self.at % self.data.len().max(1)).copied().unwrap_or(0);
        self.at += 1;
        usize::from(byte)
    }
}

/// All facts of a schema.
pub struct Facts {
    all: Vec<(&'static str, Option<Value<'static>>)>,
}

impl Facts {
    /// Of bytes. Some are missing where a byte says so.
    pub fn of(schema: &Schema, data: &[u8]) -> Self {
        let mut bytes = Bytes { data, at: 0 };
        let mut all = Vec::new();
        for field in schema.fields() {
            let is_known = bytes.next() % 16 != 15;
            let value = value(field.field_type(), field.max(), &mut bytes, 0);
            all.push((field.path(), is_known.then_some(value)));
        }
        Self { all }
    }
}

impl Roots for Facts {
    fn fact(&self, path: &str) -> Option<Value<'_>> {
        self.all.iter().find(|(known, _)| *known == path)?.1.clone()
    }
}

fn value(of: &Type, max: u32, bytes: &mut Bytes<'_>, depth: usize) -> Value<'static> {
    // Few, or as many as the schema reckons with.
    let count = |bytes: &mut Bytes<'_>| match bytes.next() {
        250.. if depth == 0 => max as usize,
        few => few % 4,
    };
    match of {
        Type::Null => Value::Null,
        Type::Bool => Value::Bool(bytes.next() % 2 == 1),
        Type::Int => Value::Int(INTS[bytes.next() % INTS.len()]),
        Type::Double => Value::Double(DOUBLES[bytes.next() % DOUBLES.len()]),
        Type::String => TEXTS[bytes.next() % TEXTS.len()].into(),
        Type::Timestamp => Value::Timestamp(
            jiff::Timestamp::from_second(bytes.next() as i64 * 10_000_000).expect("a time"),
        ),
        Type::Duration => {
            Value::Duration(jiff::SignedDuration::from_secs(bytes.next() as i64 * 1000))
        }
        Type::List(item) => {
            let count = count(bytes);
            Value::list((0..count).map(|_| value(item, 1, bytes, depth + 1)).collect::<Vec<_>>())
        }
        Type::Map(item) => {
            let count = count(bytes);
            let entries = (0..count).map(|at| {
                // The first have names that expressions know.
                let key = ["sub", "email", "groups", "a"].get(at);
                let key = key.map_or_else(|| format!("key-{at}"), |key| (*key).to_owned());
                (key, value(item, 1, bytes, depth + 1))
            });
            Value::map(entries.collect::<Vec<_>>())
        }
        Type::Dyn => {
            let of = match bytes.next() % if depth > 3 { 5 } else { 7 } {
                0 => Type::Null,
                1 => Type::Bool,
                2 => Type::Int,
                3 => Type::Double,
                4 => Type::String,
                5 => Type::List(Box::new(Type::Dyn)),
                _ => Type::Map(Box::new(Type::Dyn)),
            };
            value(&of, 1, bytes, depth + 1)
        }
    }
}
