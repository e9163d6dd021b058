//! For tests: a registry that misbehaves on request, a test CA, builders.
