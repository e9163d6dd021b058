//! People who can say who they are, and what they may do.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use identity::users::{NewToken, UserFile};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use std::sync::LazyLock;
use tempfile::TempDir;

/// The password of everybody.
pub const PASSWORD: &str = "correct horse";

/// A file of users: `alice`, who may pull and push, `olga`, who may administer, and `bob`, who may nothing.
/// Nobody in particular may pull `reg.example/open/**`.
pub struct People {
    dir: TempDir,
    /// A robot token of alice's.
    pub robot: String,
}

impl People {
    pub fn new() -> Self {
        // Made once: hashes of passwords take their time.
        static MADE: LazyLock<(String, String)> = LazyLock::new(People::made);
        let (users, robot) = &*MADE;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("users.yaml"), users).unwrap();
        Self { dir, robot: robot.clone() }
    }

    /// The file, and the robot token.
    fn made() -> (String, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.yaml");
        let mut file = UserFile::open(&path).unwrap();
        for name in ["alice", "olga", "bob"] {
            file.add(name, Vec::new()).unwrap();
            file.set_password(name, &SecretString::from(PASSWORD)).unwrap();
        }
        let token = NewToken {
            id: "robot".to_owned(),
            expires: Timestamp::now() + SignedDuration::from_hours(48),
            kind: None,
            actions: Vec::new(),
            repositories: Vec::new(),
            description: None,
        };
        let robot = file.make_token("alice", token).unwrap().expose_secret().to_owned();
        file.save().unwrap();
        (std::fs::read_to_string(&path).unwrap(), robot)
    }

    /// What makes them known, and lets them do what they may.
    pub fn documents(&self) -> String {
        format!(
            "
apiVersion: lockgate.dev/v1alpha1
kind: IdentityProvider
metadata: {{ name: local }}
spec: {{ local: {{ usersFile: '{}' }} }}
---
apiVersion: lockgate.dev/v1alpha1
kind: AccessPolicy
metadata: {{ name: people }}
spec:
  allow:
    - {{ subjects: [{{ kind: User, name: alice }}], actions: [Pull, Push, List], repositories: ['**'] }}
    - {{ subjects: [{{ kind: User, name: olga }}], actions: [Administer], repositories: ['**'] }}
    - {{ subjects: [{{ kind: Anonymous }}], actions: [Pull], repositories: ['reg.example/open/**'] }}
---
",
            self.dir.path().join("users.yaml").display()
        )
    }
}

/// A header `Authorization`.
pub fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")))
}
