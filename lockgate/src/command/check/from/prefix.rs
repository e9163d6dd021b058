//! What stands in front of names that have no registry.

use super::reference;
use crate::exit::Failure;

/// The prefixes of a command line.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    all: Option<String>,
    /// By project, the longest first.
    of: Vec<(String, String)>,
}

impl Prefixes {
    pub(super) fn parse(texts: &[String]) -> Result<Self, Failure> {
        let mut prefixes = Self::default();
        for text in texts {
            let (project, prefix) = match text.split_once('=') {
                Some((project, prefix)) => (Some(checked(text, project)?), prefix),
                None => (None, text.as_str()),
            };
            let prefix = checked(text, prefix)?;
            match project {
                Some(project) => prefixes.of.push((project, prefix)),
                None if prefixes.all.is_some() => {
                    let hint = "write the others as PROJECT=PREFIX";
                    let text = "one --prefix can stand in front of all names";
                    return Err(Failure::usage(text).hint(hint));
                }
                None => prefixes.all = Some(prefix),
            }
        }
        prefixes.of.sort_by_key(|(project, _)| std::cmp::Reverse(project.len()));
        Ok(prefixes)
    }

    /// The name as clients write it: with the prefix of its project, else with that of all names, else
    /// with the host that was asked.
    pub(super) fn put(&self, name: &str, host: Option<&str>) -> Option<String> {
        for (project, prefix) in &self.of {
            if let Some(rest) = name.strip_prefix(project.as_str())
                && let Some(rest) = rest.strip_prefix('/')
            {
                return Some(format!("{prefix}/{rest}"));
            }
        }
        let prefix = self.all.as_deref().or(host)?;
        Some(format!("{prefix}/{name}"))
    }
}

fn checked(whole: &str, part: &str) -> Result<String, Failure> {
    let part = part.trim_matches('/');
    if part.contains("//") || !reference::is_plausible(part) {
        let hint = "write it as registry.example/project, or as project=registry.example/other";
        let text = format!("--prefix {whole:?} cannot stand in front of a name");
        return Err(Failure::usage(text).hint(hint));
    }
    Ok(part.to_owned())
}

/// Names without a registry, and none was told.
pub(super) fn missing(file: &str, example: &str) -> Failure {
    let text = format!("the names in {file} have no registry, such as {example}");
    let hint = format!(
        "say what stands in front of them: --prefix registry.example makes registry.example/{example}"
    );
    Failure::usage(text).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_prefix_is_put_in_front() {
        let texts = ["hub=docker.io", "https-less.example/x/", "hub/deep=quay.io/a"];
        let prefixes = Prefixes::parse(&texts.map(str::to_owned)).unwrap();
        for (name, host, expected) in [
            ("hub/library/nginx", None, "docker.io/library/nginx"),
            ("hub/deep/b", None, "quay.io/a/b"),
            ("hubble/b", Some("h.example"), "https-less.example/x/hubble/b"),
        ] {
            assert_eq!(prefixes.put(name, host).as_deref(), Some(expected));
        }
        let none = Prefixes::default();
        assert_eq!(none.put("a", Some("h.example:5000")).as_deref(), Some("h.example:5000/a"));
        assert_eq!(none.put("a", None), None);
        for wrong in ["", "https://a.example", "a b", "=a", "a=", "#"] {
            assert!(Prefixes::parse(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
        assert!(Prefixes::parse(&["a".to_owned(), "b".to_owned()]).is_err());
    }
}
