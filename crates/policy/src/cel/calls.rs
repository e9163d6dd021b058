//! The check of calls: functions with their types, tests against literal patterns, and macros with their
//! variables.

use super::check::{Checked, Checker, Variable, assignable};
use super::cost::{Size, steps_of_pattern, steps_of_text};
use super::functions::{Function, OTHER_NAMES, SIGNATURES, Signature, Style};
use super::nearest::nearest;
use super::program::{Kind, Loop, LoopKind, Pattern};
use super::syntax::{Expr, ExprKind};
use super::version::VersionRange;
use super::{CelError, Type, Value, run};
use crate::TextPattern;
use regex::RegexBuilder;

/// How many loops may be within each other.
const MAX_LOOPS: usize = 2;

impl Checker<'_> {
    pub(super) fn call(
        &mut self,
        at: usize,
        target: Option<&Expr>,
        name: &str,
        arguments: &[Expr],
    ) -> Result<Checked, CelError> {
        match (name, target) {
            ("has", None) => match arguments {
                [Expr { kind: ExprKind::Select { of, field }, at, .. }] => self.has(*at, of, field),
                _ => {
                    let message = "has() takes one key of a map, such as has(claims.email)";
                    Err(self.error(at, message.to_owned()))
                }
            },
            ("matches" | "glob" | "semverMatches", _) => {
                let all: Vec<&Expr> = target.into_iter().chain(arguments).collect();
                self.test(at, name, &all)
            }
            (name, Some(target)) if LoopKind::parse(name).is_some() => {
                self.over(at, target, name, arguments)
            }
            _ => match Signature::find(name) {
                Some(signature) => self.function(at, signature, target, arguments),
                None => {
                    let names = SIGNATURES.iter().map(|signature| signature.name);
                    let near = nearest(name, names.chain(OTHER_NAMES)).map(str::to_owned);
                    let message = match (LoopKind::parse(name), &near) {
                        (Some(_), _) => format!("{name} is called on a list: list.{name}(x, …)"),
                        _ => format!("there is no function `{name}`"),
                    };
                    let near = near.filter(|near| near != name);
                    Err(self.error(at, message).with_nearest(near))
                }
            },
        }
    }

    fn function(
        &mut self,
        at: usize,
        signature: &'static Signature,
        target: Option<&Expr>,
        arguments: &[Expr],
    ) -> Result<Checked, CelError> {
        let name = signature.name;
        match (signature.style, target) {
            (Style::Method, None) => {
                let message = format!("{name} is called on a value: value.{name}(…)");
                return Err(self.error(at, message));
            }
            (Style::Global, Some(_)) => {
                return Err(self.error(at, format!("{name} is called as {name}(value)")));
            }
            _ => {}
        }
        let given: Vec<&Expr> = target.into_iter().chain(arguments).collect();
        let most = signature.parameters.len();
        let least = most - signature.optional;
        if given.len() < least || given.len() > most {
            let methods = usize::from(target.is_some());
            let (least, most) = (least - methods, most - methods);
            let takes =
                if least == most { least.to_string() } else { format!("{least} to {most}") };
            let message = format!("{name} takes {takes} arguments, not {}", arguments.len());
            return Err(self.error(at, message));
        }
        let mut checked = Vec::new();
        for (argument, parameter) in given.into_iter().zip(signature.parameters) {
            let part = self.part(argument)?;
            if !parameter.takes(&part.of) {
                let message = format!("{name} takes {}, not {}", parameter.describe(), part.of);
                return Err(self.error(argument.at, message));
            }
            checked.push(part);
        }
        let (size, steps) = size_and_steps(signature.function, &checked);
        let cost = checked.iter().fold(steps, |sum, part| sum.saturating_add(part.cost));
        let nodes = checked.into_iter().map(|part| part.node).collect();
        let mut node = self.node(at, Kind::Call(signature.function, nodes));
        // What is made of a literal is made now: a mistake in it shows when it is loaded.
        if let Some(made) = run::of_literal(&node) {
            let value = made.map_err(|message| self.error(at, message))?;
            node = self.node(at, Kind::Literal(value));
        }
        Ok(Checked { node, of: signature.gives(), size, cost })
    }

    /// A text against a pattern, which has to be a literal.
    fn test(&mut self, at: usize, name: &str, arguments: &[&Expr]) -> Result<Checked, CelError> {
        let [text, pattern] = arguments else {
            return Err(self.error(at, format!("{name} takes a text and a pattern")));
        };
        let checked = self.part(text)?;
        if !assignable(&checked.of, &Type::String) {
            return Err(self.error(text.at, format!("{name} takes string, not {}", checked.of)));
        }
        let ExprKind::String(written) = &pattern.kind else {
            let message = format!("the pattern of {name} has to be a literal text");
            return Err(self.error(pattern.at, message));
        };
        let compiled = match name {
            "glob" => TextPattern::parse(written).map(Pattern::Glob).map_err(|it| it.to_string()),
            "semverMatches" => VersionRange::parse(written).map(Pattern::Version),
            _ => regex(written),
        };
        let compiled = compiled.map_err(|message| self.error(pattern.at, message))?;
        let cost = checked.cost.saturating_add(steps_of_pattern(checked.size.length));
        let node = self.node(at, Kind::Test(Box::new(checked.node), compiled));
        Ok(Checked { node, of: Type::Bool, size: Size::ONE, cost })
    }

    /// A macro over a list or the keys of a map.
    fn over(
        &mut self,
        at: usize,
        target: &Expr,
        name: &str,
        arguments: &[Expr],
    ) -> Result<Checked, CelError> {
        let kind = LoopKind::parse(name).unwrap_or(LoopKind::All);
        let (variable, condition, result) = match (kind, arguments) {
            (LoopKind::Map, [variable, result]) => (variable, None, Some(result)),
            (LoopKind::Map, [variable, condition, result]) => {
                (variable, Some(condition), Some(result))
            }
            (LoopKind::Map, _) => {
                let message = "map takes a name, perhaps a condition, and what to make of each";
                return Err(self.error(at, message.to_owned()));
            }
            (_, [variable, condition]) => (variable, Some(condition), None),
            _ => return Err(self.error(at, format!("{name} takes a name and a condition"))),
        };
        let ExprKind::Name(variable_name) = &variable.kind else {
            let message = format!("{name} takes a name here, which stands for each item");
            return Err(self.error(variable.at, message));
        };
        let range = self.part(target)?;
        let (of, size) = match &range.of {
            Type::List(item) => ((**item).clone(), Size::of(item, range.size.item)),
            Type::Map(_) => (Type::String, Size::unknown(&Type::String)),
            Type::Dyn => (Type::Dyn, Size::unknown(&Type::Dyn)),
            other => {
                let message = format!("{name} goes over a list or the keys of a map, not {other}");
                return Err(self.error(at, message));
            }
        };
        if self.scope.len() == MAX_LOOPS {
            let message = format!("loops may be nested {MAX_LOOPS} deep, no deeper");
            return Err(self.error(at, message));
        }
        let slot = self.scope.len();
        self.scope.push(Variable { name: variable_name.clone(), of: of.clone(), size });
        let condition = condition.map(|it| self.condition(it, &format!("{name} needs")));
        let result = result.map(|it| self.part(it));
        self.scope.pop();
        let (condition, result) = (condition.transpose()?, result.transpose()?);
        let each = 1_u64
            .saturating_add(condition.as_ref().map_or(0, |part| part.cost))
            .saturating_add(result.as_ref().map_or(0, |part| part.cost));
        let count = range.size.count(&range.of);
        let cost = count.saturating_mul(each).saturating_add(range.cost).saturating_add(1);
        self.affordable(at, cost)?;
        let (gives, size) = match (kind, &result) {
            (LoopKind::Map, Some(made)) => {
                (made.of.clone().list(), Size::items(count, made.size.length))
            }
            (LoopKind::Filter, _) => (of.list(), Size::items(count, size.length)),
            _ => (Type::Bool, Size::ONE),
        };
        let kind = Kind::Loop(Box::new(Loop {
            of: kind,
            range: range.node,
            variable: slot,
            condition: condition.map(|part| part.node),
            result: result.map(|part| part.node),
        }));
        Ok(Checked { node: self.node(at, kind), of: gives, size, cost })
    }
}

fn regex(written: &str) -> Result<Pattern, String> {
    let compiled = RegexBuilder::new(written).size_limit(256 << 10).dfa_size_limit(1 << 20).build();
    compiled.map(Pattern::Regex).map_err(|cause| match cause {
        regex::Error::CompiledTooBig(_) => "the pattern becomes too large".to_owned(),
        // The crate draws the pattern with marks below it; its last line says what is wrong.
        cause => {
            let cause = cause.to_string();
            let last = cause.lines().last().unwrap_or_default();
            format!("the pattern is no regular expression: {}", last.trim_start_matches("error: "))
        }
    })
}

/// How large the value of a function is at most, and how many steps it takes.
fn size_and_steps(function: Function, given: &[Checked]) -> (Size, u64) {
    let length = |index: usize| given.get(index).map_or(0, |part: &Checked| part.size.length);
    let text = length(0);
    match function {
        Function::LowerAscii | Function::UpperAscii | Function::Trim | Function::Substring => {
            (Size::text(text), steps_of_text(text))
        }
        Function::Replace => {
            // Replacing nothing puts the new text before, between and after all characters.
            let size = Size::text(text.saturating_add((text + 1).saturating_mul(length(2))));
            (size, steps_of_text(text.saturating_add(size.length)))
        }
        Function::Split => (Size::items(text + 1, text), steps_of_text(text).saturating_add(text)),
        Function::Join => {
            let items = given.first().map_or(Size::ONE, |part| part.size);
            let bytes = items.length.saturating_mul(items.item.saturating_add(length(1)));
            let size = Size::text(bytes);
            (size, steps_of_text(size.length).saturating_add(items.length))
        }
        Function::ToString => (Size::text(text.max(64)), steps_of_text(text)),
        Function::Contains | Function::StartsWith | Function::EndsWith | Function::Size => {
            (Size::ONE, steps_of_text(text))
        }
        _ => (Size::ONE, 2),
    }
}

/// A literal among the arguments of a function, as a value.
pub(super) fn literal(kind: &Kind) -> Option<Value<'_>> {
    match kind {
        Kind::Text(text) => Some(Value::from(text.as_str())),
        Kind::Literal(value) => Some(value.clone()),
        _ => None,
    }
}
