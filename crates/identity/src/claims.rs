//! What claims mean: the mappings of a document, evaluated over verified claims.

use crate::IdentifyError;
use crate::jwt::Claims;
use crate::settings::ClaimMapping;
use policy::cel::{Expression, Roots, Value};
use policy::{Identity, PrincipalKind};
use std::collections::BTreeMap;

/// Groups of one identity.
const GROUPS_MAX: usize = 256;
/// Attributes of one identity.
const ATTRIBUTES_MAX: usize = 64;
/// Bytes of a name, a group or an attribute.
const TEXT_MAX_BYTES: usize = 1024;

/// One root with a value.
pub(crate) struct OneRoot<'v> {
    pub(crate) name: &'static str,
    pub(crate) value: &'v serde_json::Value,
}

impl Roots for OneRoot<'_> {
    fn fact(&self, path: &str) -> Option<Value<'_>> {
        if path == self.name {
            return Some(value(self.value));
        }
        let field = path.strip_prefix(self.name)?.strip_prefix('.')?;
        self.value.get(field).map(value)
    }
}

fn value(json: &serde_json::Value) -> Value<'_> {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::Null,
        Json::Bool(it) => Value::Bool(*it),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => Value::list(items.iter().map(value)),
        Json::Object(map) => Value::map(map.iter().map(|(key, it)| (key.clone(), value(it)))),
    }
}

/// The identity that claims stand for. `defaults`: name and attributes where the mapping is silent.
pub(crate) fn identity(
    kind: PrincipalKind,
    provider: &str,
    issuer: &str,
    mapping: &ClaimMapping,
    roots: &OneRoot<'_>,
    defaults: Defaults,
) -> Result<Identity, IdentifyError> {
    let broken = |what: &str, error: &dyn std::fmt::Display| {
        IdentifyError::wrong(format!(
            "identity provider {provider}: its {what} cannot be told: {error}"
        ))
    };
    let text = |what: &str, expression: &Expression| {
        expression.evaluate_string(roots).map_err(|error| broken(what, &error))
    };
    let name = match &mapping.name {
        Some(expression) => text("name", expression)?,
        None => defaults.name.unwrap_or_default(),
    };
    if name.is_empty() || name.len() > TEXT_MAX_BYTES || name.chars().any(char::is_control) {
        return Err(broken("name", &"it is empty, too long or no text"));
    }
    let mut groups = match &mapping.groups {
        Some(expression) => {
            expression.evaluate_strings(roots).map_err(|error| broken("groups", &error))?
        }
        None => defaults.groups,
    };
    groups.retain(|group| !group.is_empty());
    // Some of them would be a guess at which ones matter.
    if groups.len() > GROUPS_MAX || groups.iter().any(|group| group.len() > TEXT_MAX_BYTES) {
        let problem = format!("there are more than {GROUPS_MAX}, or one is too long");
        return Err(broken("groups", &problem));
    }
    let mut attributes = defaults.attributes;
    for (key, expression) in mapping.attributes.iter().take(ATTRIBUTES_MAX) {
        let value = text(&format!("attribute {key}"), expression)?;
        if value.len() > TEXT_MAX_BYTES {
            return Err(broken(key, &"it is too long"));
        }
        attributes.insert(key.clone(), value);
    }
    Ok(Identity::new(kind, provider, issuer, &name).with_groups(groups).with_attributes(attributes))
}

/// What is told where a mapping says nothing.
#[derive(Default)]
pub(crate) struct Defaults {
    pub(crate) name: Option<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) attributes: BTreeMap<String, String>,
}

impl Defaults {
    /// Of OpenID Connect: a verified mail address or the subject for people; the subject for jobs, with
    /// what GitHub and GitLab call the source repository and the ref.
    pub(crate) fn of_claims(kind: PrincipalKind, claims: &Claims) -> Self {
        let text = |name: &str| claims.get(name).and_then(serde_json::Value::as_str);
        let mut attributes = BTreeMap::new();
        let name = match kind {
            PrincipalKind::CI => {
                let repository = text("repository").or_else(|| text("project_path"));
                for (key, value) in [("repository", repository), ("ref", text("ref"))] {
                    if let Some(value) = value.filter(|it| it.len() <= TEXT_MAX_BYTES) {
                        attributes.insert(key.to_owned(), value.to_owned());
                    }
                }
                text("sub")
            }
            _ => {
                // Some issuers write the truth as text.
                let is_denied = claims
                    .get("email_verified")
                    .is_some_and(|it| *it == serde_json::json!(false) || *it == "false");
                text("email").filter(|_| !is_denied).or_else(|| text("sub"))
            }
        };
        let groups = claims.get("groups").and_then(serde_json::Value::as_array);
        let groups = groups.into_iter().flatten().filter_map(serde_json::Value::as_str);
        Self {
            name: name.map(str::to_owned),
            groups: groups.map(str::to_owned).collect(),
            attributes,
        }
    }
}
