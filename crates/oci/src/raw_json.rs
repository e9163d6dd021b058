//! JSON that is looked at field by field, with the path at hand for what is wrong.
//!
//! Derived readers know no paths, and skip in silence what another reader would take: a field that
//! stands there twice, or `Layers`, which Go reads as `layers`. Documents that mean different things
//! to different readers are how checks are got around, so they are told here.

use crate::{Manifest, ManifestError};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Maps and lists within one another; protects readers that recurse.
const MAX_DEPTH: usize = 64;
/// Fields of one object.
const MAX_FIELDS: usize = 4096;

pub(crate) fn invalid(path: &str, reason: impl Into<String>) -> ManifestError {
    ManifestError::Field { path: path.to_owned(), reason: reason.into() }
}

/// Bounds the depth of a text; what is skipped unread is skipped without recursion, so only this
/// sees it.
pub(crate) fn check_depth(text: &str) -> Result<(), ManifestError> {
    let (mut depth, mut is_text, mut is_escaped) = (0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'{' | b'[' if !is_text => depth += 1,
            b'}' | b']' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(invalid("", format!("it is nested more than {MAX_DEPTH} levels deep")));
        }
    }
    Ok(())
}

/// The fields of an object that mean something to us, still unread.
pub(crate) struct Object<'a> {
    path: &'a str,
    fields: Vec<(&'static str, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Reads an object; `known`: the names of the fields that are kept. A field that is null is
    /// left out, as every reader does.
    pub(crate) fn read(
        text: &'a str,
        path: &'a str,
        known: &[&'static str],
    ) -> Result<Self, ManifestError> {
        if !text.trim_start().starts_with('{') {
            return Err(invalid(path, "a JSON object is needed"));
        }
        let pairs: Pairs = serde_json::from_str(text)?;
        if pairs.0.len() > MAX_FIELDS {
            return Err(invalid(path, format!("it has more than {MAX_FIELDS} fields")));
        }
        let mut seen = Vec::new();
        for (key, value) in pairs.0 {
            let Some(name) = known.iter().find(|name| folds_to(&key, name)) else { continue };
            if key != *name {
                let reason = format!("some readers take the field {key:?} for {name}; remove it");
                return Err(invalid(path, reason));
            }
            if seen.iter().any(|(other, _)| other == name) {
                return Err(invalid(path, format!("the field {name} stands there twice")));
            }
            seen.push((*name, value));
        }
        seen.retain(|(_, value)| value.get() != "null");
        Ok(Self { path, fields: seen })
    }

    /// The path of a field, for what is wrong with it.
    pub(crate) fn at(&self, name: &str) -> String {
        match self.path.is_empty() {
            true => name.to_owned(),
            false => format!("{}.{name}", self.path),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The text of a field.
    pub(crate) fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, ManifestError> {
        /// A `Cow` by itself is never borrowed.
        #[derive(Deserialize)]
        struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
        let text = self.typed::<Text<'a>>(name, "a text is needed")?;
        Ok(text.map(|text| text.0))
    }

    /// The entries of a list, still unread; fails where there are too many.
    pub(crate) fn items(&self, name: &str) -> Result<Vec<&'a RawValue>, ManifestError> {
        let items = self.typed::<Items<'a>>(name, "a list is needed")?.map(|items| items.0);
        let items = items.unwrap_or_default();
        match items.len() > Manifest::MAX_DESCRIPTORS {
            true => Err(ManifestError::TooMany(items.len())),
            false => Ok(items),
        }
    }

    /// A field as a type; `reason`: what to say if it is none.
    pub(crate) fn typed<T: Deserialize<'a>>(
        &self,
        name: &str,
        reason: &str,
    ) -> Result<Option<T>, ManifestError> {
        let Some(raw) = self.get(name) else { return Ok(None) };
        serde_json::from_str(raw.get()).map(Some).map_err(|_| invalid(&self.at(name), reason))
    }
}

/// Whether a reader that does not look at the case, as Go's does, takes `key` for `name`. Upper case
/// first: so the long s and the Kelvin sign count too.
fn folds_to(key: &str, name: &str) -> bool {
    key == name
        || key.len() <= 2 * name.len() && key.to_uppercase().to_lowercase() == name.to_lowercase()
}

struct Pairs<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry::<Cow<'de, str>, &RawValue>()? {
            // One beyond the bound is enough to refuse it.
            if pairs.len() <= MAX_FIELDS {
                pairs.push(pair);
            }
        }
        Ok(Pairs(pairs))
    }
}

struct Items<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ItemsVisitor)
    }
}

struct ItemsVisitor;

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Items<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element::<&RawValue>()? {
            // One beyond the bound is enough to refuse it.
            if items.len() <= Manifest::MAX_DESCRIPTORS {
                items.push(item);
            }
        }
        Ok(Items(items))
    }
}
