//! Writing: one thread takes what was noted and makes lines of it, a second one compresses.

mod live;
mod pack;
mod recover;
mod repeats;
mod shared;
mod thread;

pub(crate) use pack::pack_thread;
pub(crate) use shared::{Message, Shared};
pub(crate) use thread::Writer;
