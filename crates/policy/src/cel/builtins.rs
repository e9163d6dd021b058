//! What functions do with values. The check saw to their number, and to their types where these are known
//! at load.

use super::budget::{Budget, Failure};
use super::functions::Function;
use super::operators::ITEM_BYTES;
use super::time;
use super::value::{List, Text, Value};

/// The value of a function of values.
pub(super) fn call<'a>(
    function: Function,
    given: &[Value<'a>],
    budget: &mut Budget,
) -> Result<Value<'a>, Failure> {
    match (function, given) {
        (Function::Size, [value]) => size(value, budget),
        (Function::Contains, [Value::String(text), Value::String(part)]) => {
            budget.text(text)?;
            Ok(Value::Bool(text.contains(&**part)))
        }
        (Function::StartsWith, [Value::String(text), Value::String(part)]) => {
            Ok(Value::Bool(text.starts_with(&**part)))
        }
        (Function::EndsWith, [Value::String(text), Value::String(part)]) => {
            Ok(Value::Bool(text.ends_with(&**part)))
        }
        (Function::LowerAscii, [Value::String(text)]) => {
            made(text.len(), budget, || text.to_ascii_lowercase())
        }
        (Function::UpperAscii, [Value::String(text)]) => {
            made(text.len(), budget, || text.to_ascii_uppercase())
        }
        (Function::Trim, [Value::String(text)]) => {
            made(text.len(), budget, || text.trim().to_owned())
        }
        (Function::Split, [Value::String(text), Value::String(separator), rest @ ..]) => {
            split(text, separator, limit(rest)?, budget)
        }
        (
            Function::Replace,
            [Value::String(text), Value::String(from), Value::String(to), rest @ ..],
        ) => replace(text, from, to, limit(rest)?, budget),
        (Function::Join, [Value::List(list), rest @ ..]) => join(list, rest, budget),
        (Function::Substring, [Value::String(text), Value::Int(from), rest @ ..]) => {
            substring(text, *from, rest, budget)
        }
        (Function::ToInt | Function::ToDouble | Function::ToBool, [value]) => {
            Ok(number(function, value)?)
        }
        (Function::ToString, [value]) => string(value, budget),
        (_, [value]) => Ok(time::call(function, value)?),
        (_, given) => Err(mismatch(given)),
    }
}

fn mismatch(given: &[Value<'_>]) -> Failure {
    let types: Vec<String> = given.iter().map(|value| value.value_type().to_string()).collect();
    Failure::Message(format!("the function does not take {}", types.join(", ")))
}

/// A text that takes so many bytes.
fn made<'a>(
    bytes: usize,
    budget: &mut Budget,
    make: impl FnOnce() -> String,
) -> Result<Value<'a>, Failure> {
    budget.bytes(bytes)?;
    budget.steps(bytes / 64)?;
    Ok(Value::from(make()))
}

fn size<'a>(value: &Value<'_>, budget: &mut Budget) -> Result<Value<'a>, Failure> {
    let size = match value {
        Value::String(text) => {
            budget.text(text)?;
            text.chars().count()
        }
        Value::List(list) => list.length(),
        Value::Map(map) => map.length(),
        other => return Err(mismatch(std::slice::from_ref(other))),
    };
    Ok(Value::Int(i64::try_from(size).unwrap_or(i64::MAX)))
}

/// The optional last argument that says how often; negative or left out: as often as there is.
fn limit(rest: &[Value<'_>]) -> Result<usize, Failure> {
    match rest {
        [] => Ok(usize::MAX),
        [Value::Int(limit)] => Ok(usize::try_from(*limit).unwrap_or(usize::MAX)),
        other => Err(mismatch(other)),
    }
}

fn split<'a>(
    text: &Text<'_>,
    separator: &str,
    limit: usize,
    budget: &mut Budget,
) -> Result<Value<'a>, Failure> {
    budget.text(text)?;
    let pieces: Vec<&str> = match (limit, separator) {
        (0, _) => Vec::new(),
        (_, "") => by_character(text, limit),
        (limit, separator) => text.splitn(limit, separator).collect(),
    };
    budget.steps(pieces.len())?;
    budget.bytes(text.len().saturating_add(pieces.len().saturating_mul(ITEM_BYTES)))?;
    Ok(Value::list(pieces.into_iter().map(|piece| Value::from(piece.to_owned()))))
}

/// One piece for each character; the last of so many pieces has the rest.
fn by_character(text: &str, limit: usize) -> Vec<&str> {
    let mut starts: Vec<usize> = text.char_indices().map(|(at, _)| at).take(limit).collect();
    starts.push(text.len());
    starts.windows(2).filter_map(|ends| text.get(ends[0]..ends[1])).collect()
}

fn replace<'a>(
    text: &str,
    from: &str,
    to: &str,
    limit: usize,
    budget: &mut Budget,
) -> Result<Value<'a>, Failure> {
    budget.text(text)?;
    let count = text.matches(from).count().min(limit);
    let grown = text.len().saturating_add(count.saturating_mul(to.len()));
    budget.steps(count)?;
    made(grown, budget, || text.replacen(from, to, count))
}

fn join<'a>(
    list: &List<'_>,
    rest: &[Value<'_>],
    budget: &mut Budget,
) -> Result<Value<'a>, Failure> {
    let separator = match rest {
        [] => "",
        [Value::String(separator)] => separator,
        other => return Err(mismatch(other)),
    };
    let mut joined = String::new();
    for (index, item) in list.items().enumerate() {
        budget.steps(1)?;
        let Value::String(item) = item else {
            return Err(format!("join takes string, not {}", item.value_type()).into());
        };
        let separator = if index == 0 { "" } else { separator };
        budget.bytes(separator.len() + item.len())?;
        joined.push_str(separator);
        joined.push_str(&item);
    }
    Ok(Value::from(joined))
}

/// From one character to before another, counted from 0.
fn substring<'a>(
    text: &str,
    from: i64,
    rest: &[Value<'_>],
    budget: &mut Budget,
) -> Result<Value<'a>, Failure> {
    budget.text(text)?;
    let byte = |index: i64| {
        let index = usize::try_from(index).ok()?;
        let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
        ends.into_iter().nth(index)
    };
    let to = match rest {
        [] => Some(text.len()),
        [Value::Int(to)] => byte(*to),
        other => return Err(mismatch(other)),
    };
    match byte(from).zip(to).and_then(|(from, to)| text.get(from..to)) {
        Some(part) => made(part.len(), budget, || part.to_owned()),
        None => {
            let count = text.chars().count();
            Err(format!("the part of the text is not within its {count} characters").into())
        }
    }
}

fn number(function: Function, value: &Value<'_>) -> Result<Value<'static>, String> {
    let failed = |what: &str| {
        let shown: String = match value {
            Value::String(text) => format!("{:?}", text.chars().take(64).collect::<String>()),
            Value::Double(number) => number.to_string(),
            other => other.value_type().to_string(),
        };
        format!("{shown} is no {what}")
    };
    match (function, value) {
        (Function::ToInt, Value::Int(number)) => Ok(Value::Int(*number)),
        (Function::ToInt, Value::Double(number)) => {
            // Both ends are exact as floating-point numbers; the upper one does not fit.
            let fits =
                *number > -9_223_372_036_854_775_808.0 && *number < 9_223_372_036_854_775_808.0;
            fits.then_some(Value::Int(*number as i64))
                .ok_or_else(|| failed("whole number of 64 bits"))
        }
        (Function::ToInt, Value::String(text)) => {
            text.parse().map(Value::Int).map_err(|_| failed("whole number"))
        }
        (Function::ToInt, Value::Timestamp(moment)) => Ok(Value::Int(moment.as_second())),
        (Function::ToDouble, Value::Double(number)) => Ok(Value::Double(*number)),
        (Function::ToDouble, Value::Int(number)) => Ok(Value::Double(*number as f64)),
        (Function::ToDouble, Value::String(text)) => {
            text.parse().map(Value::Double).map_err(|_| failed("number"))
        }
        (Function::ToBool, Value::Bool(it)) => Ok(Value::Bool(*it)),
        (Function::ToBool, Value::String(text)) => match &**text {
            "true" | "True" | "TRUE" | "t" | "1" => Ok(Value::Bool(true)),
            "false" | "False" | "FALSE" | "f" | "0" => Ok(Value::Bool(false)),
            _ => Err(failed("bool")),
        },
        (Function::ToInt, _) => Err(failed("whole number")),
        (Function::ToDouble, _) => Err(failed("number")),
        _ => Err(failed("bool")),
    }
}

fn string<'a>(value: &Value<'a>, budget: &mut Budget) -> Result<Value<'a>, Failure> {
    let text = match value {
        Value::String(_) => return Ok(value.clone()),
        Value::Bool(it) => it.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Timestamp(moment) => moment.to_string(),
        Value::Duration(span) => time::format_duration(*span),
        other => return Err(mismatch(std::slice::from_ref(other))),
    };
    made(text.len(), budget, || text)
}
