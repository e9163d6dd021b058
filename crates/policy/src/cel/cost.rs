//! How much work and memory a part of an expression may need at most, reckoned when it is loaded from the
//! bounds of the schema.

use super::Type;
use super::facts;

/// The most steps an expression may need by this reckoning.
pub(super) const MAX_COST: u64 = 1_000_000;
/// The most bytes that one evaluation may put together.
pub(super) const MAX_BYTES: u64 = 1 << 20;
/// For how many bytes of a text, and for how many items of a collection, whose size nobody knows.
const TEXT: u64 = facts::TEXT as u64;
const DYN: u64 = facts::DYN as u64;

/// How large the value of a part may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// Bytes of a text, items of a collection, otherwise 1.
    pub(super) length: u64,
    /// The same of the largest item, if it is a collection.
    pub(super) item: u64,
}

impl Size {
    /// Of what is neither text nor a collection.
    pub(super) const ONE: Self = Self { length: 1, item: 1 };

    /// Of a text.
    pub(super) fn text(bytes: u64) -> Self {
        Self { length: bytes.min(MAX_BYTES), item: 1 }
    }

    /// Of a collection.
    pub(super) fn items(length: u64, item: u64) -> Self {
        Self { length: length.min(MAX_BYTES), item }
    }

    /// Of a fact or an item of which only the type and the length is known.
    pub(super) fn of(of: &Type, length: u64) -> Self {
        match of {
            Type::String => Self::text(length),
            Type::List(item) | Type::Map(item) => Self::items(length, Self::unknown(item).length),
            Type::Dyn => Self { length: TEXT, item: TEXT },
            _ => Self::ONE,
        }
    }

    /// Of a value of which only the type is known.
    pub(super) fn unknown(of: &Type) -> Self {
        match of {
            Type::String => Self::text(TEXT),
            of => Self::of(of, DYN),
        }
    }

    /// Whichever is larger.
    pub(super) fn or(self, other: Self) -> Self {
        Self { length: self.length.max(other.length), item: self.item.max(other.item) }
    }

    /// How many items a loop over a value of this type and size goes over.
    pub(super) fn count(self, of: &Type) -> u64 {
        match of {
            Type::Dyn => DYN,
            _ => self.length,
        }
    }
}

/// Steps for looking at every byte of a text once.
pub(super) fn steps_of_text(bytes: u64) -> u64 {
    1 + bytes / 64
}

/// Steps for running a pattern over a text.
pub(super) fn steps_of_pattern(bytes: u64) -> u64 {
    1 + bytes / 8
}
