//! The header `Authorization`: whatever stands in it, what is read of it has no control characters and
//! stands in it.
#![no_main]

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fuzz::issuer::World;
use identity::{Authorization, Presented, Providers};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static WORLD: LazyLock<(World, Providers)> = LazyLock::new(|| {
    let world = World::new();
    let settings = vec![
        world.oidc(policy::PrincipalKind::User, Default::default()),
        fuzz::issuer::settings(
            "nodes",
            identity::ProviderKind::ClusterCredential {
                cluster: "c".to_owned(),
                secret_file: world.write("secret", "the-secret-of-a-whole-cluster\n"),
            },
        ),
    ];
    let providers = Providers::build(settings, None, None);
    (world, providers)
});

fuzz_target!(|data: &[u8]| {
    let Ok(header) = std::str::from_utf8(data) else { return };
    judge(header);
    // What is decoded is reached sooner if it is encoded first.
    judge(&format!("Basic {}", BASE64_STANDARD.encode(header)));
});

fn judge(header: &str) {
    let (world, providers) = &*WORLD;
    let Ok(authorization) = Authorization::parse(header) else { return };
    let shown = match &authorization {
        Authorization::Bearer(token) => {
            assert!(token.bytes().all(|byte| byte.is_ascii_graphic()), "{token:?}");
            assert!(header.contains(token));
            Presented::Bearer(token)
        }
        Authorization::Basic { username, password } => {
            assert!(!username.contains(':'), "{username:?}");
            assert!(!username.chars().chain(password.chars()).any(char::is_control));
            let again = BASE64_STANDARD.encode(format!("{username}:{password}"));
            assert!(header.contains(&again));
            Presented::Basic { username, password }
        }
    };
    let printed = format!("{authorization:?} {shown:?}");
    assert!(printed.len() < 30, "{printed}");
    if let Some(identity) = world.identify(providers, &shown) {
        // The one secret there is.
        assert_eq!(identity.provider(), "nodes");
        assert!(
            matches!(shown, Presented::Basic { password, .. } if password == "the-secret-of-a-whole-cluster")
        );
    }
}
