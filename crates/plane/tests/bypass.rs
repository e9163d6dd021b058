//! Every way of asking × every state of what is asked for × everybody who asks: a refused image is served
//! in no cell, a permitted one in each where it is due, and no answer without a decision.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself fails")]

mod support;

use identity::users::{NewToken, UserFile};
use jiff::{SignedDuration, Timestamp};
use plane::{Incoming, Method, Refusal, Served, What};
use secrecy::ExposeSecret;
use std::time::Duration;
use support::{LOOPBACK, Rig, Setup, collect, documents, set_of, through};
use testkit::{FakeRegistry, Image, ImageSpec};

/// How to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    HeadTag,
    GetTag,
    HeadDigest,
    GetDigest,
    HeadLayer,
    GetLayer,
    RangeOfLayer,
    GetConfig,
    Referrers,
    FallbackTag,
    ByHost,
    ByNamespace,
    Tags,
}

impl Way {
    const ALL: [Self; 13] = [
        Self::HeadTag,
        Self::GetTag,
        Self::HeadDigest,
        Self::GetDigest,
        Self::HeadLayer,
        Self::GetLayer,
        Self::RangeOfLayer,
        Self::GetConfig,
        Self::Referrers,
        Self::FallbackTag,
        Self::ByHost,
        Self::ByNamespace,
        Self::Tags,
    ];

    fn is_blob(self) -> bool {
        matches!(self, Self::HeadLayer | Self::GetLayer | Self::RangeOfLayer | Self::GetConfig)
    }

    fn is_by_tag(self) -> bool {
        matches!(self, Self::HeadTag | Self::GetTag | Self::ByHost | Self::ByNamespace)
    }
}

/// How things stand when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody asked before.
    Cold,
    /// Confirmed just now.
    Fresh,
    /// Served, and asked for behind.
    Stale,
    /// Too old: the upstream is asked first.
    Old,
    /// Too old, and the upstream is gone.
    Down,
}

const STATES: [State; 5] = [State::Cold, State::Fresh, State::Stale, State::Old, State::Down];

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// Shows nothing.
    Nobody,
    /// Is known, and may nothing.
    Outsider,
    /// May pull, in dev.
    Reader,
    /// May pull, and asks to be judged as prod, where tags are refused.
    AsProd,
    /// May pull, in dev, and had everything before there were rules: a pull under way.
    Early,
}

const EVERYBODY: [Who; 5] = [Who::Nobody, Who::Outsider, Who::Reader, Who::AsProd, Who::Early];

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Served,
    Refused,
    Login,
    /// Anything but served: what is asked for is not known to be what it must be, or not known at all.
    NotServed,
}

fn due(way: Way, state: State, who: Who, is_good: bool) -> Due {
    match who {
        Who::Nobody => return Due::Login,
        Who::Outsider => return Due::Refused,
        Who::Early if way.is_blob() && state != State::Cold => return Due::Served,
        Who::Reader | Who::AsProd | Who::Early => {}
    }
    if who == Who::AsProd && way.is_by_tag() {
        return Due::Refused;
    }
    match (way, is_good) {
        (Way::Tags, _) => Due::Served,
        // No list was made by hand there, so there is nothing, or what the API says.
        (Way::FallbackTag, _) => Due::NotServed,
        // Nobody asked for a manifest that reaches it.
        (_, _) if way.is_blob() && state == State::Cold => Due::NotServed,
        (Way::Referrers, false) if state == State::Cold => Due::NotServed,
        (_, true) => Due::Served,
        (_, false) => Due::Refused,
    }
}

struct World {
    registry: FakeRegistry,
    good: Image,
    bad: Image,
    rig: Rig,
    reader: String,
    outsider: String,
    /// Had everything before there were rules, and has leases of that; the others have none.
    early: String,
    _users: tempfile::TempDir,
}

const RULES: &str = "---\napiVersion: lockgate.dev/v1alpha1\nkind: ArtifactPolicy\nmetadata: { name: flat }\n\
    spec:\n  hide: true\n  rules: [{ name: few, deny: artifact.layerCount > 2 }]\n\
    ---\napiVersion: lockgate.dev/v1alpha1\nkind: ArtifactPolicy\nmetadata: { name: pinned }\n\
    spec:\n  match: { environments: [prod] }\n  rules: [{ name: pinned, tags: { requireDigest: true } }]\n";

impl World {
    async fn new(state: State) -> Self {
        let users = tempfile::tempdir().unwrap();
        let path = users.path().join("users.yaml");
        let mut file = UserFile::open(&path).unwrap();
        let mut robot = |name: &str| {
            file.add(name, Vec::new()).unwrap();
            let token = NewToken {
                id: format!("robot-of-{name}"),
                expires: Timestamp::now() + SignedDuration::from_hours(2000),
                kind: None,
                actions: Vec::new(),
                repositories: Vec::new(),
                description: None,
            };
            let token = file.make_token(name, token).unwrap();
            format!("Bearer {}", token.expose_secret())
        };
        let (reader, outsider, early) = (robot("ann"), robot("bob"), robot("eve"));
        file.save().unwrap();
        let registry = FakeRegistry::start().await;
        let good = registry.image("a/b", "good", ImageSpec::layers([3000, 10]));
        let bad = registry.image("a/b", "bad", ImageSpec::layers([3000, 20, 30]).seed(7));
        let documents = format!(
            "{}---\napiVersion: lockgate.dev/v1alpha1\nkind: IdentityProvider\nmetadata: {{ name: local }}\n\
             spec: {{ local: {{ usersFile: '{}' }} }}\n---\napiVersion: lockgate.dev/v1alpha1\n\
             kind: Environment\nmetadata: {{ name: prod }}\nspec: {{ strictness: 100, networks: [10.1.0.0/16] }}\n\
             ---\napiVersion: lockgate.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{ name: readers }}\nspec:\n  \
             allow:\n    - subjects: [{{ kind: User, name: ann }}, {{ kind: User, name: eve }}]\n      actions: [Pull, List, Referrers]\n      \
             repositories: [\"reg/**\"]\n",
            documents(&registry.url(), ", freshness: { tagTtl: 10m, staleWhileRevalidate: 1h }"),
            path.display()
        );
        let mut rig = Rig::with(&documents, Setup::default()).await;
        rig.authorization = Some(early.clone());
        let world = Self { registry, good, bad, rig, reader, outsider, early, _users: users };
        if state != State::Cold {
            // As long as no rule speaks, everything is had.
            for image in [&world.good, &world.bad] {
                for way in Way::ALL {
                    let _ = world.ask(way, image).await.map(drop);
                }
            }
        }
        world.rig.plane.apply(set_of(&(documents + RULES)), "test.yaml").await.unwrap();
        match state {
            State::Cold | State::Fresh => {}
            State::Stale => world.rig.clock.advance(Duration::from_secs(20 * 60)),
            State::Old => world.rig.clock.advance(Duration::from_secs(3 * 3600)),
            State::Down => {
                world.registry.stop().await;
                world.rig.clock.advance(Duration::from_secs(3 * 3600));
            }
        }
        world
    }

    fn be(&mut self, who: Who) {
        self.rig.authorization = match who {
            Who::Nobody => None,
            Who::Outsider => Some(self.outsider.clone()),
            Who::Reader | Who::AsProd => Some(self.reader.clone()),
            Who::Early => Some(self.early.clone()),
        };
        self.rig.environment = (who == Who::AsProd).then(|| "prod".to_owned());
    }

    /// Asks, and reads what is served to its end.
    async fn ask(&self, way: Way, image: &Image) -> Result<Served, Refusal> {
        let (layer, config) = (through(&image.layer_path(0)), through(&image.config_path()));
        let (tag, digest) = (through(&image.tag_path()), through(&image.digest_path()));
        let own = image.tag_path();
        let rig = &self.rig;
        let mut served = match way {
            Way::HeadTag => rig.ask(Method::Head, &tag).await,
            Way::GetTag => rig.get(&tag).await,
            Way::HeadDigest => rig.ask(Method::Head, &digest).await,
            Way::GetDigest => rig.get(&digest).await,
            Way::HeadLayer => rig.ask(Method::Head, &layer).await,
            Way::GetLayer | Way::RangeOfLayer => rig.get(&layer).await,
            Way::GetConfig => rig.get(&config).await,
            Way::Referrers => rig.get(&format!("/v2/reg/a/b/referrers/{}", image.digest)).await,
            Way::FallbackTag => {
                let tag = image.digest.replace(':', "-");
                rig.get(&format!("/v2/reg/a/b/manifests/{tag}")).await
            }
            Way::ByHost => {
                rig.send_to("reg.example", LOOPBACK, Method::Get, &own, Incoming::none()).await
            }
            Way::ByNamespace => rig.get(&format!("{own}?ns=reg.example")).await,
            Way::Tags => rig.get("/v2/reg/a/b/tags/list").await,
        }?;
        if let What::Blob(answer) = served.what {
            let range = (way == Way::RangeOfLayer)
                .then_some(oci::range::ByteRange { start: 100, end: 200 });
            let bytes = collect(answer.stream(range)).await.unwrap();
            assert!(!bytes.is_empty() || way == Way::HeadLayer);
            served.what = What::Base;
        }
        Ok(served)
    }
}

/// What was answered, if it is not what is due.
fn wrong(answer: &Result<Served, Refusal>, due: Due, way: Way, is_good: bool) -> Option<String> {
    let is_right = match (answer, due) {
        (Ok(served), Due::Served) => served.decision.is_some(),
        (Err(Refusal::Denied(denial)), Due::Refused) => {
            denial.message().contains(&denial.id().to_string())
        }
        (Err(Refusal::Unauthorized { .. }), Due::Login) => true,
        (Err(_), Due::NotServed) => true,
        // A list of nothing under the fallback tag tells nothing of a good image that is not known.
        (Ok(served), Due::NotServed) => {
            way == Way::FallbackTag && is_good && served.decision.is_some()
        }
        _ => false,
    };
    if let Ok(Served { what: What::Tags { tags, .. }, .. }) = answer {
        let shown: Vec<String> = tags.iter().map(ToString::to_string).collect();
        if !shown.contains(&"good".to_owned()) {
            return Some(format!("the list is {shown:?}"));
        }
    }
    (!is_right).then(|| match answer {
        Ok(_) => "served".to_owned(),
        Err(refusal) => format!("{refusal}"),
    })
}

async fn cell(world: &mut World, way: Way, state: State, who: Who, wrongs: &mut Vec<String>) {
    for is_good in [true, false] {
        if state == State::Cold {
            *world = World::new(state).await;
        }
        world.be(who);
        let image = if is_good { &world.good } else { &world.bad };
        let answer = world.ask(way, image).await;
        let due = due(way, state, who, is_good);
        if let Some(found) = wrong(&answer, due, way, is_good) {
            let image = if is_good { "good" } else { "bad" };
            wrongs
                .push(format!("{way:?} of {image}, {state:?}, by {who:?}: {due:?}, was: {found}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_cell_is_without_its_decision() {
    let mut wrongs = Vec::new();
    for state in STATES {
        for who in EVERYBODY {
            let mut world = World::new(state).await;
            // Blobs before manifests: who was permitted a manifest would have a lease.
            let mut ways = Way::ALL;
            ways.sort_by_key(|way| !way.is_blob());
            for way in ways {
                cell(&mut world, way, state, who, &mut wrongs).await;
            }
        }
    }
    assert!(wrongs.is_empty(), "{} cells:\n{}", wrongs.len(), wrongs.join("\n"));
}
