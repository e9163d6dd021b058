//! Who asks in which setting: the principal, and the environment and purpose that hold for it.
//!
//! The setting is settled per request (contracts §2) and never frozen in a token.

use crate::Principal;
use std::sync::Arc;

/// The name of an environment: `prod`, `staging`, `dev`, …. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnvironmentName(Arc<str>);

impl EnvironmentName {
    /// The environment where nothing matches.
    pub const DEFAULT: &'static str = "default";

    /// A name, as `Environment` documents have it.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for EnvironmentName {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

impl std::fmt::Display for EnvironmentName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// What an artifact is asked for. Ordered from the laxest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// To look into it: scanners have to get at what nobody may run.
    Scan,
    /// To copy it to another registry.
    Replicate,
    /// By a person, on a desk.
    Develop,
    /// As a part of something that is being built.
    Build,
    /// To run it.
    Deploy,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Scan, Self::Replicate, Self::Develop, Self::Build, Self::Deploy];

    /// The name as documents spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scan => "Scan",
            Self::Replicate => "Replicate",
            Self::Develop => "Develop",
            Self::Build => "Build",
            Self::Deploy => "Deploy",
        }
    }

    /// The purpose of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == text)
    }

    /// How much it binds; what is equal cannot be told apart by strictness.
    pub(crate) fn strictness(self) -> u8 {
        match self {
            Self::Scan | Self::Replicate => 0,
            Self::Develop => 1,
            Self::Build => 2,
            Self::Deploy => 3,
        }
    }
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where an artifact is meant to go, and what for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Setting {
    environment: EnvironmentName,
    /// A stricter one that the client asked for by a header.
    asked_environment: Option<EnvironmentName>,
    purpose: Purpose,
    /// A stricter one that the client asked for.
    asked_purpose: Option<Purpose>,
}

impl Setting {
    /// A setting that nobody asked to be stricter.
    pub fn new(environment: EnvironmentName, purpose: Purpose) -> Self {
        Self { environment, asked_environment: None, purpose, asked_purpose: None }
    }

    pub(crate) fn raised(
        mut self,
        environment: Option<EnvironmentName>,
        purpose: Option<Purpose>,
    ) -> Self {
        (self.asked_environment, self.asked_purpose) = (environment, purpose);
        self
    }

    /// The environment that is told and recorded: the one asked for, if a stricter one was.
    pub fn environment(&self) -> &EnvironmentName {
        self.asked_environment.as_ref().unwrap_or(&self.environment)
    }

    /// The environment that was found, whatever the client asked for: where the request belongs.
    pub fn found_environment(&self) -> &EnvironmentName {
        &self.environment
    }

    /// Every environment that has a say. A client's word adds one and takes none away: access has to
    /// allow in all of them, and the policies of all of them apply.
    pub fn environments(&self) -> impl Iterator<Item = &EnvironmentName> {
        std::iter::once(&self.environment).chain(self.asked_environment.as_ref())
    }

    /// Environment and purpose as one text, for what was permitted in one setting and no other.
    pub fn key(&self) -> EnvironmentName {
        let environments: Vec<&str> = self.environments().map(EnvironmentName::as_str).collect();
        let purposes: Vec<&str> = self.purposes().map(Purpose::as_str).collect();
        EnvironmentName(format!("{}/{}", environments.join("+"), purposes.join("+")).into())
    }

    /// The purpose that is told and recorded.
    pub fn purpose(&self) -> Purpose {
        self.asked_purpose.unwrap_or(self.purpose)
    }

    /// Every purpose that has a say; see [`Setting::environments`].
    pub fn purposes(&self) -> impl Iterator<Item = Purpose> {
        std::iter::once(self.purpose).chain(self.asked_purpose)
    }
}

impl Default for Setting {
    fn default() -> Self {
        Self::new(EnvironmentName::default(), Purpose::Deploy)
    }
}

/// Who asks, and in which setting. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// In which setting.
    pub setting: Setting,
}

impl Caller {
    /// Puts the two together.
    pub fn new(principal: Principal, setting: Setting) -> Self {
        Self { principal, setting }
    }

    /// The plane itself: it brings things in, and whoever asks for them is decided then.
    pub fn system() -> Self {
        Self::new(Principal::system(), Setting::new(EnvironmentName::default(), Purpose::Replicate))
    }

    /// The cluster of the principal.
    pub fn cluster(&self) -> Option<&str> {
        self.principal.cluster()
    }
}
