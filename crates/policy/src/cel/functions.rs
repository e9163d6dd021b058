//! The functions there are: their names, and which types they take and give.

use super::Type;

/// A function that is not a macro and needs no compiled pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    LowerAscii,
    UpperAscii,
    Trim,
    Split,
    Replace,
    Join,
    Substring,
    ToInt,
    ToDouble,
    ToString,
    ToBool,
    ToTimestamp,
    ToDuration,
    Year,
    Month,
    DayOfMonth,
    Date,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `f(a, b)`.
    Global,
    /// `a.f(b)`.
    Method,
    /// Either.
    Both,
}

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    Text,
    Int,
    Texts,
    /// Text, a list or a map.
    Sized,
    Moment,
    MomentOrSpan,
    /// What `int`, `double`, `bool` and so on turn into their type.
    Convertible(&'static [Type]),
}

impl Parameter {
    /// Whether an argument of this type may be given.
    pub(super) fn takes(self, of: &Type) -> bool {
        match (self, of) {
            (_, Type::Dyn)
            | (Self::Text, Type::String)
            | (Self::Int, Type::Int)
            | (Self::Sized, Type::String | Type::List(_) | Type::Map(_))
            | (Self::Moment, Type::Timestamp)
            | (Self::MomentOrSpan, Type::Timestamp | Type::Duration) => true,
            (Self::Texts, Type::List(item)) => matches!(**item, Type::String | Type::Dyn),
            (Self::Convertible(types), of) => types.contains(of),
            _ => false,
        }
    }

    /// As messages name it.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Text => "string".to_owned(),
            Self::Int => "int".to_owned(),
            Self::Texts => "list<string>".to_owned(),
            Self::Sized => "string, list or map".to_owned(),
            Self::Moment => "timestamp".to_owned(),
            Self::MomentOrSpan => "timestamp or duration".to_owned(),
            Self::Convertible(types) => {
                types.iter().map(Type::to_string).collect::<Vec<_>>().join(" or ")
            }
        }
    }
}

/// What is known of a function.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signature {
    pub(super) name: &'static str,
    pub(super) function: Function,
    pub(super) style: Style,
    /// The target of a method is the first.
    pub(super) parameters: &'static [Parameter],
    /// How many of the last parameters may be left out.
    pub(super) optional: usize,
}

impl Signature {
    /// The function of this name.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        SIGNATURES.iter().find(|signature| signature.name == name)
    }

    /// The type it gives.
    pub(super) fn gives(&self) -> Type {
        match self.function {
            Function::Contains | Function::StartsWith | Function::EndsWith | Function::ToBool => {
                Type::Bool
            }
            Function::LowerAscii
            | Function::UpperAscii
            | Function::Trim
            | Function::Replace
            | Function::Join
            | Function::Substring
            | Function::ToString => Type::String,
            Function::Split => Type::String.list(),
            Function::ToDouble => Type::Double,
            Function::ToTimestamp => Type::Timestamp,
            Function::ToDuration => Type::Duration,
            _ => Type::Int,
        }
    }
}

/// Names that are called but stand in no table: macros, and tests against a literal pattern.
pub(super) const OTHER_NAMES: [&str; 9] =
    ["all", "exists", "exists_one", "filter", "glob", "has", "map", "matches", "semverMatches"];

const fn method(
    name: &'static str,
    function: Function,
    parameters: &'static [Parameter],
    optional: usize,
) -> Signature {
    Signature { name, function, style: Style::Method, parameters, optional }
}

const fn convert(
    name: &'static str,
    function: Function,
    parameters: &'static [Parameter],
) -> Signature {
    Signature { name, function, style: Style::Global, parameters, optional: 0 }
}

const TO_INT: &[Type] = &[Type::Int, Type::Double, Type::String, Type::Timestamp];
const TO_DOUBLE: &[Type] = &[Type::Double, Type::Int, Type::String];
const TO_STRING: &[Type] =
    &[Type::String, Type::Bool, Type::Int, Type::Double, Type::Timestamp, Type::Duration];
const TO_BOOL: &[Type] = &[Type::Bool, Type::String];
const TO_TIMESTAMP: &[Type] = &[Type::Timestamp, Type::String, Type::Int];
const TO_DURATION: &[Type] = &[Type::Duration, Type::String];

use Parameter::{Convertible, Int, Moment, MomentOrSpan, Sized, Text, Texts};

/// All of them.
pub(super) const SIGNATURES: [Signature; 27] = [
    Signature {
        name: "size",
        function: Function::Size,
        style: Style::Both,
        parameters: &[Sized],
        optional: 0,
    },
    method("contains", Function::Contains, &[Text, Text], 0),
    method("startsWith", Function::StartsWith, &[Text, Text], 0),
    method("endsWith", Function::EndsWith, &[Text, Text], 0),
    method("lowerAscii", Function::LowerAscii, &[Text], 0),
    method("upperAscii", Function::UpperAscii, &[Text], 0),
    method("trim", Function::Trim, &[Text], 0),
    method("split", Function::Split, &[Text, Text, Int], 1),
    method("replace", Function::Replace, &[Text, Text, Text, Int], 1),
    method("join", Function::Join, &[Texts, Text], 1),
    method("substring", Function::Substring, &[Text, Int, Int], 1),
    convert("int", Function::ToInt, &[Convertible(TO_INT)]),
    convert("double", Function::ToDouble, &[Convertible(TO_DOUBLE)]),
    convert("string", Function::ToString, &[Convertible(TO_STRING)]),
    convert("bool", Function::ToBool, &[Convertible(TO_BOOL)]),
    convert("timestamp", Function::ToTimestamp, &[Convertible(TO_TIMESTAMP)]),
    convert("duration", Function::ToDuration, &[Convertible(TO_DURATION)]),
    method("getFullYear", Function::Year, &[Moment], 0),
    method("getMonth", Function::Month, &[Moment], 0),
    method("getDayOfMonth", Function::DayOfMonth, &[Moment], 0),
    method("getDate", Function::Date, &[Moment], 0),
    method("getDayOfWeek", Function::DayOfWeek, &[Moment], 0),
    method("getDayOfYear", Function::DayOfYear, &[Moment], 0),
    method("getHours", Function::Hours, &[MomentOrSpan], 0),
    method("getMinutes", Function::Minutes, &[MomentOrSpan], 0),
    method("getSeconds", Function::Seconds, &[MomentOrSpan], 0),
    method("getMilliseconds", Function::Milliseconds, &[Moment], 0),
];
