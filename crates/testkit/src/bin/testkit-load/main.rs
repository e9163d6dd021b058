//! Load on a registry, as in zot's `zb`: images are pushed and pulled by some clients at once, lists are
//! read to their end.
//!
//! ```text
//! testkit-load --addr HOST:PORT --name NAME --work WORK [--size SIZE] [--clients N] [--requests N] [--run TEXT]
//!   WORK: push            an image of one layer of SIZE: POST, PUT
//!         push-chunked    POST, PATCH by 10 MiB, PUT
//!         pull            manifest, configuration, layer; of a few images pushed before
//!         mixed           three pulls to one push
//!         seed-tags       --requests tags of one image under NAME
//!         seed-names      --requests names below NAME, each with one image
//!         list            --path PATH (tags/list, _catalog), followed by its `Link` to the end
//! ```
//!
//! Counted is the whole thing: an image, a list. Digests are made before the clock runs. One thread
//! serves all clients, so that the registry has the rest of the machine. Prints one line of JSON; exits 1
//! if anything failed. `--run` makes what is pushed unlike that of another run.

mod image;
mod wire;

use image::{ACCEPT, Image, Way};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::io::Write;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};
use testkit::flags::{Flags, size_bytes};
use wire::{Body, Wire};

const VALUED: &[&str] = &["addr", "name", "work", "size", "clients", "requests", "run", "path"];
/// Images that pulls choose from.
const PULLED_IMAGES: usize = 4;
const PAGES_MAX: usize = 100_000;

/// What all clients share.
struct Load {
    addr: String,
    name: String,
    work: String,
    run: String,
    path: String,
    size: usize,
    requests: usize,
    /// Pushed before the clock runs.
    held: Vec<Image>,
    /// To be pushed; each by whoever comes first.
    fresh: RefCell<Vec<Image>>,
    done: RefCell<Vec<Duration>>,
    next: RefCell<usize>,
    bytes: RefCell<u64>,
    errors: RefCell<Vec<String>>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "testkit-load: {message}");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<bool, String> {
    let flags = Flags::parse(std::env::args().skip(1), VALUED, &[])?;
    let clients: usize = flags.value("clients")?.unwrap_or(4);
    let load = Rc::new(prepare(&flags).await?);
    let started = Instant::now();
    let local = tokio::task::LocalSet::new();
    let tasks: Vec<_> = (0..clients).map(|_| local.spawn_local(client(load.clone()))).collect();
    local
        .run_until(async {
            for task in tasks {
                let _ = task.await;
            }
        })
        .await;
    let summary = summary(&load, started.elapsed());
    writeln!(std::io::stdout(), "{summary}").map_err(|error| error.to_string())?;
    Ok(summary["error_count"] == 0)
}

/// Makes the images, and pushes what pulls need.
async fn prepare(flags: &Flags) -> Result<Load, String> {
    let text = |name: &str| flags.text(name).unwrap_or_default().to_owned();
    let addr = flags.text("addr").ok_or("`--addr` is needed")?.to_owned();
    let work = flags.text("work").ok_or("`--work` is needed")?.to_owned();
    let name = flags.text("name").unwrap_or("load").to_owned();
    let size = flags.text("size").map_or(Ok(1 << 20), size_bytes)? as usize;
    let requests: usize = flags.value("requests")?.unwrap_or(100);
    let run = flags.text("run").unwrap_or("1").to_owned();
    let (held, fresh) = match work.as_str() {
        "push" | "push-chunked" => (0, requests),
        "pull" => (PULLED_IMAGES, 0),
        "mixed" => (PULLED_IMAGES, requests / 4 + 1),
        "seed-tags" | "seed-names" => (1, 0),
        "list" => (0, 0),
        other => return Err(format!("no work `{other}`")),
    };
    let made = |kind: &str, count: usize| -> Vec<Image> {
        (0..count)
            .map(|number| Image::new(size, &format!("{work}-{run}-{kind}-{size}-{number}")))
            .collect()
    };
    let (held, fresh) = (made("held", held), made("fresh", fresh));
    let mut wire = Wire::new(&addr);
    for image in &held {
        image.push(&mut wire, &name, Way::Monolithic).await?;
    }
    let path = text("path");
    Ok(Load {
        addr,
        name,
        work,
        run,
        path,
        size,
        requests,
        held,
        fresh: RefCell::new(fresh),
        done: RefCell::default(),
        next: RefCell::default(),
        bytes: RefCell::default(),
        errors: RefCell::default(),
    })
}

async fn client(load: Rc<Load>) {
    let mut wire = Wire::new(&load.addr);
    loop {
        let number = load.next.replace_with(|next| *next + 1);
        if number >= load.requests {
            return;
        }
        let began = Instant::now();
        match one(&load, &mut wire, number).await {
            Ok(bytes) => {
                load.done.borrow_mut().push(began.elapsed());
                *load.bytes.borrow_mut() += bytes;
            }
            Err(why) => load.errors.borrow_mut().push(why),
        }
    }
}

async fn one(load: &Load, wire: &mut Wire, number: usize) -> Result<u64, String> {
    let is_push = match load.work.as_str() {
        "push" | "push-chunked" => true,
        "mixed" => number % 4 == 3,
        _ => false,
    };
    if is_push {
        let way = if load.work == "push-chunked" { Way::Chunked } else { Way::Monolithic };
        let image = load.fresh.borrow_mut().pop().ok_or("no image is left to push")?;
        return image.push(wire, &load.name, way).await;
    }
    match load.work.as_str() {
        "seed-tags" => {
            load.held[0].put(wire, &load.name, &format!("t{number:06}")).await.map(|()| 0)
        }
        "seed-names" => {
            let name = format!("{}/n{:03}/{}-{number:06}", load.name, number % 1000, load.run);
            load.held[0].put_from(wire, &load.name, &name).await.map(|()| 0)
        }
        "list" => list(wire, &load.path).await,
        _ => load.held[number % load.held.len()].pull(wire, &load.name).await,
    }
}

/// A list to its end: the page, then the page that its `Link` names, and so on.
async fn list(wire: &mut Wire, path: &str) -> Result<u64, String> {
    let (mut path, mut bytes) = (path.to_owned(), 0);
    for _ in 0..PAGES_MAX {
        let answer = wire.ask("GET", &path, ACCEPT, Body::None, false).await?.expect(200, &path)?;
        bytes += answer.body_bytes;
        let Some(next) = answer.header("link").and_then(next_page) else { return Ok(bytes) };
        path = next;
    }
    Err(format!("the list has more than {PAGES_MAX} pages"))
}

fn next_page(link: &str) -> Option<String> {
    let (target, rest) = link.split_once('>')?;
    let target = target.trim().strip_prefix('<')?;
    let path = target
        .split_once("://")
        .and_then(|(_, rest)| Some(&rest[rest.find('/')?..]))
        .unwrap_or(target);
    rest.contains("next").then(|| path.to_owned())
}

fn summary(load: &Load, took: Duration) -> Value {
    let mut done = load.done.borrow().clone();
    done.sort_unstable();
    let at = |percent: usize| {
        let index = (done.len() * percent / 100).min(done.len().saturating_sub(1));
        done.get(index).map(|time| (time.as_secs_f64() * 1e5).round() / 1e2)
    };
    let (errors, bytes, seconds) = (load.errors.borrow(), *load.bytes.borrow(), took.as_secs_f64());
    json!({
        "work": load.work, "size": load.size, "requests": done.len(),
        "error_count": errors.len(), "errors": errors.iter().take(5).collect::<Vec<_>>(),
        "seconds": (seconds * 1e3).round() / 1e3,
        "per_second": (done.len() as f64 / seconds * 10.0).round() / 10.0,
        "mb_per_second": (bytes as f64 / 1e6 / seconds * 10.0).round() / 10.0,
        "p50_ms": at(50), "p90_ms": at(90), "p99_ms": at(99), "max_ms": at(100),
    })
}
