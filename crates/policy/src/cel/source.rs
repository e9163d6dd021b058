//! Rust's own collections read as values, without being copied; and values read from JSON.

use super::value::{AsValue, ListSource, MapSource, Text, Value};
use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

impl AsValue for String {
    fn as_value(&self) -> Value<'_> {
        Value::from(self.as_str())
    }
}

impl AsValue for &str {
    fn as_value(&self) -> Value<'_> {
        Value::from(*self)
    }
}

impl AsValue for Arc<str> {
    fn as_value(&self) -> Value<'_> {
        Value::from(&**self)
    }
}

impl AsValue for oci::Tag {
    fn as_value(&self) -> Value<'_> {
        Value::from(self.as_str())
    }
}

impl AsValue for Timestamp {
    fn as_value(&self) -> Value<'_> {
        Value::Timestamp(*self)
    }
}

impl AsValue for Value<'_> {
    fn as_value(&self) -> Value<'_> {
        self.clone()
    }
}

impl<T: AsValue + fmt::Debug + Send + Sync> ListSource for Vec<T> {
    fn length(&self) -> usize {
        self.len()
    }

    fn item(&self, index: usize) -> Option<Value<'_>> {
        self.get(index).map(AsValue::as_value)
    }
}

impl<T: AsValue + fmt::Debug + Send + Sync> ListSource for Arc<[T]> {
    fn length(&self) -> usize {
        self.len()
    }

    fn item(&self, index: usize) -> Option<Value<'_>> {
        self.get(index).map(AsValue::as_value)
    }
}

impl<T: AsValue + fmt::Debug + Send + Sync> MapSource for BTreeMap<String, T> {
    fn length(&self) -> usize {
        self.len()
    }

    fn value(&self, key: &str) -> Option<Value<'_>> {
        self.get(key).map(AsValue::as_value)
    }

    fn keys(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(BTreeMap::keys(self).map(String::as_str))
    }
}

/// From JSON, such as the claims of a token: `serde_json::from_slice::<Value>(…)`. Whole numbers that
/// fit become [`Value::Int`], all others [`Value::Double`].
impl<'de> Deserialize<'de> for Value<'static> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Json)
    }
}

struct Json;

impl<'de> Visitor<'de> for Json {
    type Value = Value<'static>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value of JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, it: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool(it))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(number).map_or(Value::Double(number as f64), Value::Int))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Value::Double(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::String(Text::Owned(text.into())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Value<'static>>()? {
            list.push(item);
        }
        Ok(Value::list(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry::<String, Value<'static>>()? {
            // Two readers of one token may take different ones of a doubled claim: nobody gets either.
            if map.insert(key.clone(), value).is_some() {
                return Err(A::Error::custom(format_args!("the key `{key}` is there twice")));
            }
        }
        Ok(Value::map(map))
    }
}
