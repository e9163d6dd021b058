//! What operators do with values.

use super::budget::{Budget, Failure};
use super::syntax::Operator;
use super::value::{List, Map, Text, Value};
use std::cmp::Ordering;

/// What one item of a list that is made counts for, in bytes.
pub(super) const ITEM_BYTES: usize = size_of::<Value<'_>>();

/// The value of an operator between two values.
pub(super) fn binary<'a>(
    operator: Operator,
    left: &Value<'a>,
    right: &Value<'a>,
    budget: &mut Budget,
) -> Result<Value<'a>, Failure> {
    let truth = match operator {
        Operator::Equal => equal(left, right, budget)?,
        Operator::NotEqual => !equal(left, right, budget)?,
        Operator::Less => order(left, right, budget)? == Some(Ordering::Less),
        Operator::LessOrEqual => {
            matches!(order(left, right, budget)?, Some(Ordering::Less | Ordering::Equal))
        }
        Operator::Greater => order(left, right, budget)? == Some(Ordering::Greater),
        Operator::GreaterOrEqual => {
            matches!(order(left, right, budget)?, Some(Ordering::Greater | Ordering::Equal))
        }
        Operator::In => contains(right, left, budget)?,
        Operator::Index => return Ok(index(left, right)?),
        _ => return arithmetic(operator, left, right, budget),
    };
    Ok(Value::Bool(truth))
}

fn equal(left: &Value<'_>, right: &Value<'_>, budget: &mut Budget) -> Result<bool, Failure> {
    match (left, right) {
        (Value::String(left), Value::String(right)) if left.len() == right.len() => {
            budget.text(left)?;
        }
        (Value::List(left), Value::List(_)) => budget.steps(left.length())?,
        (Value::Map(left), Value::Map(_)) => budget.steps(2 * left.length())?,
        _ => {}
    }
    Ok(left == right)
}

/// The order of two values of one type; none with a NaN.
fn order(
    left: &Value<'_>,
    right: &Value<'_>,
    budget: &mut Budget,
) -> Result<Option<Ordering>, Failure> {
    Ok(match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Double(left), Value::Double(right)) => left.partial_cmp(right),
        (Value::Int(left), Value::Double(right)) => order_numbers(*left, *right),
        (Value::Double(left), Value::Int(right)) => {
            order_numbers(*right, *left).map(Ordering::reverse)
        }
        (Value::String(left), Value::String(right)) => {
            budget.text(left)?;
            Some(left.cmp(right))
        }
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Timestamp(left), Value::Timestamp(right)) => Some(left.cmp(right)),
        (Value::Duration(left), Value::Duration(right)) => Some(left.cmp(right)),
        _ => {
            let (left, right) = (left.value_type(), right.value_type());
            return Err(format!("{left} and {right} have no order").into());
        }
    })
}

/// The order of two numbers of different types, exact; none with a NaN.
pub(super) fn order_numbers(int: i64, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    // Whole numbers of 64 bits lie in [-2^63, 2^63): beyond, the sign decides.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if double >= BEYOND {
        return Some(Ordering::Less);
    }
    if double < -BEYOND {
        return Some(Ordering::Greater);
    }
    let whole = double.trunc();
    // The fraction decides between equal whole parts.
    let fraction = 0.0_f64.partial_cmp(&(double - whole)).unwrap_or(Ordering::Equal);
    Some(int.cmp(&(whole as i64)).then(fraction))
}

fn contains(of: &Value<'_>, item: &Value<'_>, budget: &mut Budget) -> Result<bool, Failure> {
    match (of, item) {
        (Value::List(list), item) => {
            budget.steps(list.length())?;
            for each in list.items() {
                if equal(&each, item, budget)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        (Value::Map(map), Value::String(key)) => Ok(map.value(key).is_some()),
        // A map has no other keys than text.
        (Value::Map(_), _) => Ok(false),
        (other, _) => {
            let found = other.value_type();
            Err(format!("`in` needs a list or a map after it, not {found}").into())
        }
    }
}

fn index<'a>(of: &Value<'a>, key: &Value<'a>) -> Result<Value<'a>, String> {
    match (of, key) {
        (Value::Map(map), Value::String(key)) => member(map, key),
        (Value::List(list), Value::Int(index)) => usize::try_from(*index)
            .ok()
            .and_then(|index| list.item(index))
            .ok_or_else(|| format!("there is no item {index} in a list of {}", list.length())),
        (of, key) => Err(format!("{} cannot be indexed by {}", of.value_type(), key.value_type())),
    }
}

/// The value of a key that has to be there.
pub(super) fn member<'a>(map: &Map<'a>, key: &str) -> Result<Value<'a>, String> {
    map.value(key).ok_or_else(|| {
        // Keys may come from the facts: a message must not be as long as they are.
        let key: String = key.chars().take(128).collect();
        format!("there is no key `{key}`")
    })
}

fn arithmetic<'a>(
    operator: Operator,
    left: &Value<'a>,
    right: &Value<'a>,
    budget: &mut Budget,
) -> Result<Value<'a>, Failure> {
    let overflow = || Failure::from(format!("the result of `{}` does not fit", operator.as_str()));
    Ok(match (operator, left, right) {
        (_, Value::Int(left), Value::Int(right)) => return Ok(ints(operator, *left, *right)?),
        (_, Value::Double(left), Value::Double(right)) if operator != Operator::Remainder => {
            Value::Double(doubles(operator, *left, *right))
        }
        (Operator::Add, Value::String(left), Value::String(right)) => {
            budget.bytes(left.len() + right.len())?;
            budget.steps((left.len() + right.len()) / 64)?;
            Value::String(Text::Owned([&**left, &**right].concat().into()))
        }
        (Operator::Add, Value::List(left), Value::List(right)) => {
            let length = left.length() + right.length();
            budget.bytes(length.saturating_mul(ITEM_BYTES))?;
            budget.steps(length)?;
            Value::List(List::Owned(left.items().chain(right.items()).collect()))
        }
        (Operator::Add, Value::Timestamp(moment), Value::Duration(span))
        | (Operator::Add, Value::Duration(span), Value::Timestamp(moment)) => {
            Value::Timestamp(moment.checked_add(*span).map_err(|_| overflow())?)
        }
        (Operator::Subtract, Value::Timestamp(moment), Value::Duration(span)) => {
            Value::Timestamp(moment.checked_sub(*span).map_err(|_| overflow())?)
        }
        (Operator::Subtract, Value::Timestamp(left), Value::Timestamp(right)) => {
            Value::Duration(left.duration_since(*right))
        }
        (Operator::Add, Value::Duration(left), Value::Duration(right)) => {
            Value::Duration(left.checked_add(*right).ok_or_else(overflow)?)
        }
        (Operator::Subtract, Value::Duration(left), Value::Duration(right)) => {
            Value::Duration(left.checked_sub(*right).ok_or_else(overflow)?)
        }
        _ => {
            let (left, right) = (left.value_type(), right.value_type());
            let message = format!("`{}` does not take {left} and {right}", operator.as_str());
            return Err(message.into());
        }
    })
}

fn ints(operator: Operator, left: i64, right: i64) -> Result<Value<'static>, String> {
    if right == 0 && matches!(operator, Operator::Divide | Operator::Remainder) {
        return Err("a number is divided by zero".to_owned());
    }
    let number = match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        Operator::Divide => left.checked_div(right),
        _ => left.checked_rem(right),
    };
    number
        .map(Value::Int)
        .ok_or_else(|| format!("the result of `{}` does not fit 64 bits", operator.as_str()))
}

fn doubles(operator: Operator, left: f64, right: f64) -> f64 {
    match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        _ => left / right,
    }
}

/// `-` before a value.
pub(super) fn negate<'a>(operand: &Value<'a>) -> Result<Value<'a>, String> {
    let negative = match operand {
        Value::Int(number) => number.checked_neg().map(Value::Int),
        Value::Double(number) => Some(Value::Double(-number)),
        other => return Err(format!("- needs a number, not {}", other.value_type())),
    };
    negative.ok_or_else(|| "the result of `-` does not fit".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_both_types_are_ordered_exactly() {
        use Ordering::{Equal, Greater, Less};
        for (int, double, expected) in [
            (1, 1.0, Some(Equal)),
            (1, 1.5, Some(Less)),
            (-1, -1.5, Some(Greater)),
            (i64::MAX, 9_223_372_036_854_775_808.0, Some(Less)),
            (i64::MIN, -9_223_372_036_854_775_808.0, Some(Equal)),
            (i64::MIN, f64::NEG_INFINITY, Some(Greater)),
            (9_007_199_254_740_993, 9_007_199_254_740_992.0, Some(Greater)),
            (0, f64::NAN, None),
        ] {
            assert_eq!(order_numbers(int, double), expected, "{int} and {double}");
        }
    }
}
