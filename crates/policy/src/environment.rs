//! Which environment and purpose hold for a request (contracts §2).
//!
//! What a verified identity settles, nothing changes: network and host speak only where no identity
//! did. A client's word can ask for something stricter and never for something laxer.

use crate::identity::attribute;
use crate::{
    Caller, Denial, EnvironmentName, Network, Principal, PrincipalKind, Purpose, Setting, Subject,
    TextPattern,
};

/// One `Environment`.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    /// Its name.
    pub name: EnvironmentName,
    /// Where several match, the highest stands.
    pub strictness: u32,
    /// Whose requests are for it. Never `Anonymous`.
    pub subjects: Vec<Subject>,
    /// Where requests for it come from, where no identity says.
    pub networks: Vec<Network>,
    /// By which host name they come, where no identity says.
    pub listener_hosts: Vec<TextPattern>,
}

/// What a request says of its setting, none of it believed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said<'a> {
    /// The host name that the client named, without a port.
    pub host: Option<&'a str>,
    /// The header `Lockgate-Environment`.
    pub environment: Option<&'a str>,
    /// The header `Lockgate-Purpose`.
    pub purpose: Option<&'a str>,
}

/// All environments of a view.
#[derive(Clone, Debug, PartialEq)]
pub struct Environments {
    /// The strictest first; `default` is among them.
    list: Vec<Environment>,
}

impl Default for Environments {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Environments {
    /// The documents' environments. `default`, with strictness 0, is added where none has its name.
    pub fn new(mut list: Vec<Environment>) -> Self {
        if list.iter().all(|it| it.name.as_str() != EnvironmentName::DEFAULT) {
            list.push(Environment {
                name: EnvironmentName::default(),
                strictness: 0,
                subjects: Vec::new(),
                networks: Vec::new(),
                listener_hosts: Vec::new(),
            });
        }
        // Among equals the name decides, so that every replica says the same.
        list.sort_by(|a, b| b.strictness.cmp(&a.strictness).then_with(|| a.name.cmp(&b.name)));
        Self { list }
    }

    /// The names, the strictest first.
    pub fn names(&self) -> impl Iterator<Item = &EnvironmentName> {
        self.list.iter().map(|it| &it.name)
    }

    /// The environment of this name.
    pub fn named(&self, name: &str) -> Option<&Environment> {
        self.list.iter().find(|it| it.name.as_str() == name)
    }

    /// Settles the setting of a request.
    ///
    /// # Errors
    /// When the client names an environment or a purpose that does not exist: taken for nothing, a
    /// slip of the pen would make the request laxer than was asked.
    pub fn settle(&self, principal: Principal, said: Said<'_>) -> Result<Caller, Denial> {
        let environment = self.of(&principal, said.host);
        let purpose = purpose_of(&principal);
        let asked_environment = match said.environment {
            Some(name) => Some(self.named(name).ok_or_else(|| self.no_environment(name))?),
            None => None,
        };
        let asked_purpose = match said.purpose {
            Some(text) => Some(Purpose::parse(text).ok_or_else(|| no_purpose(text))?),
            None => None,
        };
        // Of two that are equally strict neither speaks for the other: both have a say.
        let stricter = asked_environment
            .filter(|it| it.strictness >= environment.strictness && it.name != environment.name);
        let asked_purpose = asked_purpose.filter(|it| it.strictness() > purpose.strictness());
        let setting = Setting::new(environment.name.clone(), purpose)
            .raised(stricter.map(|it| it.name.clone()), asked_purpose);
        Ok(Caller::new(principal, setting))
    }

    fn of(&self, principal: &Principal, host: Option<&str>) -> &Environment {
        // Sorted by strictness: the first that matches is the strictest.
        let by_identity = |it: &&Environment| {
            principal.identity().is_some() && it.subjects.iter().any(|it| it.covers(principal))
        };
        let by_place = |it: &&Environment| it.holds_at(principal, host);
        let mut all = self.list.iter();
        all.clone().find(by_identity).or_else(|| all.find(by_place)).unwrap_or_else(|| {
            let default = self.named(EnvironmentName::DEFAULT);
            default.or(self.list.first()).expect("`new` puts the default among them")
        })
    }

    fn no_environment(&self, name: &str) -> Denial {
        let names: Vec<&str> = self.names().map(EnvironmentName::as_str).take(6).collect();
        Denial::unknown_environment(name, &names)
    }
}

impl Environment {
    fn holds_at(&self, principal: &Principal, host: Option<&str>) -> bool {
        let address = principal.address();
        address.is_some_and(|address| self.networks.iter().any(|net| net.contains(address)))
            || host.is_some_and(|host| {
                let host = host.to_ascii_lowercase();
                self.listener_hosts.iter().any(|pattern| pattern.matches(&host))
            })
    }
}

fn no_purpose(text: &str) -> Denial {
    Denial::unknown_purpose(text)
}

/// What a principal asks for, by what it is; whoever is not known is taken to deploy.
fn purpose_of(principal: &Principal) -> Purpose {
    let mapped = principal.identity().and_then(|identity| identity.attribute(attribute::PURPOSE));
    if let Some(purpose) = mapped.and_then(Purpose::parse) {
        return purpose;
    }
    match principal.kind() {
        PrincipalKind::CI => Purpose::Build,
        PrincipalKind::User => Purpose::Develop,
        PrincipalKind::Operator | PrincipalKind::System => Purpose::Replicate,
        PrincipalKind::Anonymous
        | PrincipalKind::ServiceAccount
        | PrincipalKind::Node
        | PrincipalKind::Workload => Purpose::Deploy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, Who};
    use std::sync::Arc;

    fn environment(name: &str, strictness: u32) -> Environment {
        Environment {
            name: EnvironmentName::new(name),
            strictness,
            subjects: Vec::new(),
            networks: Vec::new(),
            listener_hosts: Vec::new(),
        }
    }

    fn three() -> Environments {
        let glob = |text: &str| TextPattern::parse(text).unwrap();
        let prod = Environment {
            subjects: vec![Subject::new(Who::ServiceAccount {
                cluster: Some(glob("prod-eu")),
                namespace: None,
                name: None,
            })],
            networks: vec![Network::parse("10.1.0.0/16").unwrap()],
            listener_hosts: vec![glob("prod.example")],
            ..environment("prod", 100)
        };
        let staging = Environment {
            listener_hosts: vec![glob("staging.example")],
            ..environment("staging", 50)
        };
        let dev = Environment {
            networks: vec![Network::parse("10.0.0.0/8").unwrap()],
            listener_hosts: vec![glob("dev.example"), glob("*.dev.example")],
            ..environment("dev", 10)
        };
        Environments::new(vec![dev, prod, staging])
    }

    fn pod(address: &str) -> Principal {
        let name = "system:serviceaccount:shop:web";
        let identity = Identity::new(PrincipalKind::ServiceAccount, "p", "iss", name)
            .with_attribute(attribute::CLUSTER, "prod-eu");
        Principal::identified(Arc::new(identity), Some(address.parse().unwrap()), false)
    }

    fn user(address: &str) -> Principal {
        let identity = Identity::new(PrincipalKind::User, "p", "iss", "alice");
        Principal::identified(Arc::new(identity), Some(address.parse().unwrap()), false)
    }

    fn anonymous(address: &str) -> Principal {
        Principal::anonymous(address.parse().unwrap(), false)
    }

    fn settled(who: Principal, said: Said<'_>) -> (String, Purpose) {
        let caller = three().settle(who, said).unwrap();
        (caller.setting.environment().to_string(), caller.setting.purpose())
    }

    #[test]
    fn what_an_identity_settles_nothing_makes_laxer() {
        let dev =
            Said { host: Some("dev.example"), environment: Some("dev"), purpose: Some("Scan") };
        assert_eq!(settled(pod("10.2.0.1"), dev), ("prod".to_owned(), Purpose::Deploy));
    }

    #[test]
    fn network_and_host_speak_where_no_identity_did() {
        let at = |who, host| settled(who, Said { host, ..Said::default() }).0;
        assert_eq!(at(anonymous("10.2.0.1"), None), "dev");
        assert_eq!(at(anonymous("10.1.0.1"), None), "prod");
        assert_eq!(at(anonymous("10.1.0.1"), Some("dev.example")), "prod", "the strictest stands");
        assert_eq!(at(anonymous("192.0.2.1"), Some("A.DEV.example")), "dev");
        assert_eq!(at(anonymous("192.0.2.1"), Some("elsewhere.example")), "default");
        // Nobody said where this person's requests go.
        assert_eq!(at(user("192.0.2.1"), Some("staging.example")), "staging");
        assert_eq!(at(user("192.0.2.1"), None), "default");
    }

    #[test]
    fn a_client_may_ask_for_something_stricter_and_both_have_a_say() {
        let said = Said { environment: Some("prod"), purpose: Some("Deploy"), host: None };
        let caller = three().settle(user("10.2.0.1"), said).unwrap();
        let names: Vec<_> = caller.setting.environments().map(EnvironmentName::as_str).collect();
        assert_eq!(names, ["dev", "prod"]);
        assert_eq!(caller.setting.environment().as_str(), "prod");
        let purposes: Vec<_> = caller.setting.purposes().collect();
        assert_eq!(purposes, [Purpose::Develop, Purpose::Deploy]);
        let laxer = Said { environment: Some("default"), purpose: Some("Replicate"), host: None };
        assert_eq!(settled(user("10.2.0.1"), laxer), ("dev".to_owned(), Purpose::Develop));
    }

    #[test]
    fn what_does_not_exist_is_refused_and_not_taken_for_nothing() {
        let ask = |said| three().settle(user("10.2.0.1"), said).unwrap_err().message();
        let message = ask(Said { environment: Some("prdo"), ..Said::default() });
        assert!(message.contains("no Environment is named prdo"), "{message}");
        assert!(message.contains("prod, staging, dev, default"), "{message}");
        let message = ask(Said { purpose: Some("deploy"), ..Said::default() });
        assert!(message.contains("Deploy"), "{message}");
    }
}
