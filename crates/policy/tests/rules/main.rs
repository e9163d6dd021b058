//! Rules of artifact policies: what each says of what, what becomes of it, and what holds whatever the
//! rules are.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself fails")]

mod checks;
mod content;
mod effects;
mod expressions;
mod matching;
mod outranking;
mod properties;
mod softening;
mod world;
