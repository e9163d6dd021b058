//! The artifact access plane for Kubernetes: the composition root and the subcommands.

mod settings;

fn main() {}
