//! The evaluation of a checked expression.

use super::budget::{Budget, Failure};
use super::calls::literal;
use super::expression::Roots;
use super::functions::Function;
use super::operators::{self, ITEM_BYTES};
use super::program::{Kind, Loop, LoopKind, Node, Pattern};
use super::syntax::Operator;
use super::value::{List, Map, Value};
use super::{EvaluationError, builtins};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The value of a program for these facts.
pub(super) fn value<'a>(
    program: &'a Node,
    roots: &'a dyn Roots,
) -> Result<Value<'a>, EvaluationError> {
    Run { roots, variables: Vec::new(), budget: Budget::new() }.value(program)
}

/// The value of a conversion of a literal, if the call is one.
pub(super) fn of_literal(call: &Node) -> Option<Result<Value<'static>, String>> {
    let Kind::Call(function, given) = &call.kind else { return None };
    let [given] = given.as_slice() else { return None };
    let made = matches!(
        function,
        Function::ToTimestamp
            | Function::ToDuration
            | Function::ToInt
            | Function::ToDouble
            | Function::ToBool
    );
    if !made {
        return None;
    }
    let given = literal(&given.kind)?;
    match builtins::call(*function, &[given], &mut Budget::new()) {
        // None of these makes text, so that nothing is borrowed.
        Ok(Value::Timestamp(moment)) => Some(Ok(Value::Timestamp(moment))),
        Ok(Value::Duration(span)) => Some(Ok(Value::Duration(span))),
        Ok(Value::Int(number)) => Some(Ok(Value::Int(number))),
        Ok(Value::Double(number)) => Some(Ok(Value::Double(number))),
        Ok(Value::Bool(it)) => Some(Ok(Value::Bool(it))),
        Ok(_) => None,
        Err(Failure::Message(message)) => Some(Err(message)),
        Err(Failure::Exhausted(message)) => Some(Err(message.to_owned())),
    }
}

struct Run<'a> {
    roots: &'a dyn Roots,
    variables: Vec<Value<'a>>,
    budget: Budget,
}

/// Puts the place to what a part failed with.
fn at<T>(node: &Node, result: Result<T, Failure>) -> Result<T, EvaluationError> {
    result.map_err(|failure| match failure {
        Failure::Message(message) => EvaluationError::new(node.place, message),
        Failure::Exhausted(message) => EvaluationError::exhausted(node.place, message),
    })
}

impl<'a> Run<'a> {
    fn value(&mut self, node: &'a Node) -> Result<Value<'a>, EvaluationError> {
        at(node, self.budget.steps(1))?;
        match &node.kind {
            Kind::Literal(value) => Ok(value.clone()),
            Kind::Text(text) => Ok(Value::from(text.as_str())),
            Kind::Fact(path) => {
                self.roots.fact(path).ok_or_else(|| EvaluationError::missing(node.place, path))
            }
            Kind::Variable(slot) => match self.variables.get(*slot) {
                Some(value) => Ok(value.clone()),
                // The check gives out only slots of loops around the part.
                None => at(node, Err(Failure::Exhausted("a variable has no value"))),
            },
            Kind::List(items) => self.list(node, items),
            Kind::Map(entries) => self.map(node, entries),
            Kind::Member(of, key) => {
                let map = self.map_of(of)?;
                at(node, operators::member(&map, key).map_err(|it| within(it, of)))
            }
            Kind::Has(of, key) => Ok(Value::Bool(self.map_of(of)?.value(key).is_some())),
            Kind::Not(operand) => Ok(Value::Bool(!self.truth(operand)?)),
            Kind::Negate(operand) => {
                let operand = self.value(operand)?;
                at(node, operators::negate(&operand).map_err(Failure::Message))
            }
            Kind::And(terms) => self.logic(terms, false),
            Kind::Or(terms) => self.logic(terms, true),
            Kind::Conditional(parts) => {
                let [condition, yes, no] = &**parts;
                if self.truth(condition)? { self.value(yes) } else { self.value(no) }
            }
            Kind::Binary(operator, parts) => {
                let [left, right] = &**parts;
                let (left_value, right_value) = (self.value(left)?, self.value(right)?);
                let value =
                    operators::binary(*operator, &left_value, &right_value, &mut self.budget);
                at(
                    node,
                    value.map_err(|failure| match failure {
                        Failure::Message(message) if *operator == Operator::Index => {
                            within(message, left)
                        }
                        other => other,
                    }),
                )
            }
            Kind::Call(function, given) => {
                let given =
                    given.iter().map(|part| self.value(part)).collect::<Result<Vec<_>, _>>()?;
                at(node, builtins::call(*function, &given, &mut self.budget))
            }
            Kind::Test(text, pattern) => self.test(node, text, pattern),
            Kind::Loop(each) => self.over(node, each),
        }
    }

    fn truth(&mut self, node: &'a Node) -> Result<bool, EvaluationError> {
        let value = self.value(node)?;
        value.as_bool().ok_or_else(|| {
            let message = format!("a bool is needed here, not {}", value.value_type());
            EvaluationError::new(node.place, message)
        })
    }

    fn map_of(&mut self, node: &'a Node) -> Result<Map<'a>, EvaluationError> {
        match self.value(node)? {
            Value::Map(map) => Ok(map),
            other => {
                let message = format!("a map is needed here, not {}", other.value_type());
                Err(EvaluationError::new(node.place, message))
            }
        }
    }

    fn list(&mut self, node: &Node, items: &'a [Node]) -> Result<Value<'a>, EvaluationError> {
        at(node, self.budget.bytes(items.len() * ITEM_BYTES))?;
        let items = items.iter().map(|item| self.value(item)).collect::<Result<Vec<_>, _>>()?;
        Ok(Value::list(items))
    }

    fn map(
        &mut self,
        node: &Node,
        entries: &'a [(Node, Node)],
    ) -> Result<Value<'a>, EvaluationError> {
        at(node, self.budget.bytes(entries.len() * 2 * ITEM_BYTES))?;
        let mut map = BTreeMap::new();
        for (key_node, value) in entries {
            let Value::String(key) = self.value(key_node)? else {
                let message = "keys of maps are string here".to_owned();
                return Err(EvaluationError::new(key_node.place, message));
            };
            let value = self.value(value)?;
            if map.insert(key, value).is_some() {
                let message = "the key is there already".to_owned();
                return Err(EvaluationError::new(key_node.place, message));
            }
        }
        Ok(Value::Map(Map::Owned(Arc::new(map))))
    }

    /// `&&` or `||`: the deciding value wins over an error of another term, in any order.
    fn logic(&mut self, terms: &'a [Node], decides: bool) -> Result<Value<'a>, EvaluationError> {
        let mut first_error = None;
        for term in terms {
            match self.truth(term) {
                Ok(truth) if truth == decides => return Ok(Value::Bool(decides)),
                Ok(_) => {}
                Err(error) if error.is_exhausted() => return Err(error),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(Value::Bool(!decides)), Err)
    }

    fn test(
        &mut self,
        node: &Node,
        text: &'a Node,
        pattern: &Pattern,
    ) -> Result<Value<'a>, EvaluationError> {
        let value = self.value(text)?;
        let Some(subject) = value.as_str() else {
            let message = format!("a text is needed here, not {}", value.value_type());
            return Err(EvaluationError::new(text.place, message));
        };
        at(node, self.budget.steps(subject.len() / 8))?;
        Ok(Value::Bool(pattern.fits(subject)))
    }

    fn over(&mut self, node: &Node, each: &'a Loop) -> Result<Value<'a>, EvaluationError> {
        let items: List<'a> = match self.value(&each.range)? {
            Value::List(list) => list,
            Value::Map(map) => {
                at(node, self.budget.bytes(map.length().saturating_mul(ITEM_BYTES)))?;
                List::Owned(map.keys().into_iter().map(Value::String).collect())
            }
            other => {
                let message = format!("a list or a map is needed here, not {}", other.value_type());
                return Err(EvaluationError::new(each.range.place, message));
            }
        };
        match each.of {
            LoopKind::All => self.any(each, &items, false),
            LoopKind::Exists => self.any(each, &items, true),
            LoopKind::ExistsOne => {
                let mut found = 0;
                for item in items.items() {
                    found += usize::from(self.condition(each, item)?);
                }
                Ok(Value::Bool(found == 1))
            }
            LoopKind::Filter | LoopKind::Map => self.collect(node, each, &items),
        }
    }

    /// Whether the condition holds for an item; without a condition, it does.
    fn condition(&mut self, each: &'a Loop, item: Value<'a>) -> Result<bool, EvaluationError> {
        let Some(condition) = &each.condition else { return Ok(true) };
        self.variables.push(item);
        let truth = self.truth(condition);
        self.variables.truncate(each.variable);
        truth
    }

    /// `exists` and `all`: one deciding item wins over errors of others, in any order.
    fn any(
        &mut self,
        each: &'a Loop,
        items: &List<'a>,
        decides: bool,
    ) -> Result<Value<'a>, EvaluationError> {
        let mut first_error = None;
        for item in items.items() {
            match self.condition(each, item) {
                Ok(truth) if truth == decides => return Ok(Value::Bool(decides)),
                Ok(_) => {}
                Err(error) if error.is_exhausted() => return Err(error),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(Value::Bool(!decides)), Err)
    }

    fn collect(
        &mut self,
        node: &Node,
        each: &'a Loop,
        items: &List<'a>,
    ) -> Result<Value<'a>, EvaluationError> {
        let mut collected = Vec::new();
        for item in items.items() {
            if !self.condition(each, item.clone())? {
                continue;
            }
            at(node, self.budget.bytes(ITEM_BYTES))?;
            let Some(result) = &each.result else {
                collected.push(item);
                continue;
            };
            self.variables.push(item);
            let result = self.value(result);
            self.variables.truncate(each.variable);
            collected.push(result?);
        }
        Ok(Value::list(collected))
    }
}

/// Says in which fact something is missing, if it is looked up in one.
fn within(message: String, of: &Node) -> Failure {
    Failure::Message(match &of.kind {
        Kind::Fact(path) => format!("{message} in `{path}`"),
        _ => message,
    })
}
