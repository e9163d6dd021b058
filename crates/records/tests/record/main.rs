//! The record, from outside: what is written is found again, whatever happens in between.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod counting;
mod crash;
mod full;
mod kill;
mod properties;
mod retain;
mod tamper;
mod writing;
