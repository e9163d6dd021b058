//! Tells docker, and all that read its configuration, to ask us for one registry. Everything else in the
//! file stays as it is, byte for byte, and in its order.

use crate::exit::Failure;
use crate::logins::{Server, replace};
use crate::output::{self, say};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The part of our name that stands in `credHelpers`.
const HELPER: &str = "lockgate";
/// The program that clients then look for.
const PROGRAM: &str = "docker-credential-lockgate";
/// A configuration is no larger than this.
const CONFIG_MAX_BYTES: u64 = 8 << 20;

/// The members of an object in their order, and with the values as they are written.
#[derive(Default)]
struct Members(Vec<(String, Box<RawValue>)>);

/// Makes docker ask us for a registry.
pub(super) fn use_for(server: &Server) -> Result<(), Failure> {
    let path = config_path()?;
    let bad = |error: &(dyn std::error::Error + 'static)| {
        Failure::no(format!("{} cannot be changed", path.display())).because(error)
    };
    let (text, mode) = match std::fs::metadata(&path) {
        Ok(metadata) if metadata.len() > CONFIG_MAX_BYTES => {
            return Err(Failure::no(format!("{} is too large", path.display())));
        }
        Ok(metadata) => {
            let text = std::fs::read_to_string(&path).map_err(|error| bad(&error))?;
            (text, metadata.mode() & 0o777)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => (String::new(), 0o600),
        Err(error) => return Err(bad(&error)),
    };
    // Where and what, but nothing of the text: there may be secrets in it.
    let changed = with_helper(&text, server.as_str()).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Failure::no(format!("{} is not a configuration of docker ({place})", path.display()))
    })?;
    if let Some(directory) = path.parent() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| bad(&error))?;
    }
    replace(&path, changed.as_bytes(), mode).map_err(|error| bad(&error))?;
    say(&format!("{} asks {PROGRAM} for {}", path.display(), server.as_str()));
    tell_of_program();
    Ok(())
}

fn config_path() -> Result<PathBuf, Failure> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let directory = variable("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".docker")));
    let directory = directory.ok_or_else(|| {
        Failure::no("there is no place for docker's configuration").hint("set HOME")
    })?;
    Ok(directory.join("config.json"))
}

/// The configuration with our helper for a registry.
fn with_helper(text: &str, server: &str) -> serde_json::Result<String> {
    let mut config = match text.trim().is_empty() {
        true => Members::default(),
        false => serde_json::from_str(text)?,
    };
    let helpers = config.get("credHelpers").map(RawValue::get).filter(|text| *text != "null");
    let mut helpers: Members =
        helpers.map_or_else(|| Ok(Members::default()), serde_json::from_str)?;
    helpers.set(server, serde_json::value::to_raw_value(HELPER)?);
    config.set("credHelpers", serde_json::value::to_raw_value(&helpers)?);
    serde_json::to_string_pretty(&config).map(|text| text + "\n")
}

/// Clients find the helper by its name alone.
fn tell_of_program() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|directory| directory.join(PROGRAM).is_file()) {
        return;
    }
    let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("lockgate"));
    let directory = own.parent().unwrap_or(Path::new("/usr/local/bin"));
    let link = directory.join(PROGRAM);
    output::headed(
        "note",
        output::CYAN,
        &format!(
            "clients look for {PROGRAM} in PATH, and it is not there:\nln -s {} {}",
            own.display(),
            link.display()
        ),
    );
}

impl Members {
    fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| &**value)
    }

    fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(member, _)| member == name) {
            Some((_, held)) => *held = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Members::default();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    members.set(&name, value);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_else_in_the_configuration_stays_in_its_order_and_form() {
        let text = "{\n\t\"zeta\": 1.50,\n\t\"auths\": { \"b\": {}, \"a\": {\"auth\":\"eDp5\"} },\n\t\"credHelpers\": {\"x.example\": \"pass\"},\n\t\"big\": 123456789012345678901234567890\n}";
        let changed = with_helper(text, "plane.example:5050").unwrap();
        for kept in [
            "\"zeta\": 1.50",
            "{ \"b\": {}, \"a\": {\"auth\":\"eDp5\"} }",
            "\"x.example\":\"pass\"",
            "123456789012345678901234567890",
            "\"plane.example:5050\":\"lockgate\"",
        ] {
            assert!(changed.contains(kept), "{kept} is not in {changed}");
        }
        assert!(changed.find("zeta") < changed.find("auths"));
        assert_eq!(with_helper(&changed, "plane.example:5050").unwrap(), changed);
    }

    #[test]
    fn there_may_be_no_configuration_yet_and_nonsense_is_left_alone() {
        for empty in ["", "{}", "{\"credHelpers\":null}"] {
            let value: serde_json::Value =
                serde_json::from_str(&with_helper(empty, "h").unwrap()).unwrap();
            assert_eq!(value["credHelpers"]["h"], "lockgate");
        }
        for wrong in ["[]", "{", "{\"credHelpers\": 1}"] {
            assert!(with_helper(wrong, "h").is_err());
        }
    }
}
