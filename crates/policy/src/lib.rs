//! May they: principals, intents, permits and denials. Pure.
