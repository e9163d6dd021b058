//! The check of an expression when it is loaded: every name exists, every type fits, the work is bounded.
//! What it makes is the program that is evaluated.

use super::cost::{MAX_COST, Size, steps_of_text};
use super::error::Place;
use super::nearest::nearest;
use super::program::{Kind, Node};
use super::syntax::{Expr, ExprKind, Operator};
use super::{CelError, Expect, Schema, Type, Value};
use std::collections::BTreeSet;

/// A part that was checked.
pub(super) struct Checked {
    pub(super) node: Node,
    pub(super) of: Type,
    pub(super) size: Size,
    pub(super) cost: u64,
}

/// The variable of a loop.
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) of: Type,
    pub(super) size: Size,
}

pub(super) struct Checker<'t> {
    pub(super) text: &'t str,
    schema: &'t Schema,
    needs: BTreeSet<&'static str>,
    pub(super) scope: Vec<Variable>,
}

/// Checks a tree; gives the program and the facts it reads.
pub(super) fn check(
    text: &str,
    schema: &Schema,
    expect: Expect,
    tree: &Expr,
) -> Result<(Node, Vec<&'static str>), CelError> {
    let mut checker = Checker { text, schema, needs: BTreeSet::new(), scope: Vec::new() };
    let checked = checker.part(tree)?;
    if !assignable(&checked.of, &expect.of()) {
        let message = format!("it gives {}, not {}", checked.of, expect.of());
        return Err(checker.error(tree.at, message));
    }
    checker.affordable(tree.at, checked.cost)?;
    Ok((checked.node, checker.needs.into_iter().collect()))
}

impl Checker<'_> {
    pub(super) fn error(&self, at: usize, message: String) -> CelError {
        CelError::new(self.text, at, message)
    }

    pub(super) fn node(&self, at: usize, kind: Kind) -> Node {
        Node { kind, place: Place::of(self.text, at) }
    }

    /// Refuses what may take too many steps, where that is first so.
    pub(super) fn affordable(&self, at: usize, cost: u64) -> Result<(), CelError> {
        if cost <= MAX_COST {
            return Ok(());
        }
        Err(self.error(at, format!("it may take {cost} steps; at most {MAX_COST} are allowed")))
    }

    pub(super) fn part(&mut self, expr: &Expr) -> Result<Checked, CelError> {
        let literal = |checker: &Self, value: Value<'static>| {
            let of = value.value_type();
            let node = checker.node(expr.at, Kind::Literal(value));
            Ok(Checked { node, of, size: Size::ONE, cost: 1 })
        };
        match &expr.kind {
            ExprKind::Null => literal(self, Value::Null),
            ExprKind::Bool(it) => literal(self, Value::Bool(*it)),
            ExprKind::Int(number) => literal(self, Value::Int(*number)),
            ExprKind::Double(number) => literal(self, Value::Double(*number)),
            ExprKind::String(text) => Ok(Checked {
                node: self.node(expr.at, Kind::Text(text.clone())),
                of: Type::String,
                size: Size::text(text.len() as u64),
                cost: 1,
            }),
            ExprKind::Name(name) => self.name(expr.at, name),
            ExprKind::Select { of, field } => self.select(expr.at, of, field),
            ExprKind::Call { target, name, arguments } => {
                self.call(expr.at, target.as_deref(), name, arguments)
            }
            ExprKind::List(items) => self.list(expr.at, items),
            ExprKind::Map(entries) => self.map(expr.at, entries),
            ExprKind::Not(operand) => {
                let operand = self.condition(operand, "! needs")?;
                let node = self.node(expr.at, Kind::Not(Box::new(operand.node)));
                Ok(Checked { node, of: Type::Bool, size: Size::ONE, cost: operand.cost + 1 })
            }
            ExprKind::Negate(operand) => self.negate(expr.at, operand),
            ExprKind::And(terms) => self.logic(expr.at, terms, "&& needs", Kind::And),
            ExprKind::Or(terms) => self.logic(expr.at, terms, "|| needs", Kind::Or),
            ExprKind::Conditional(parts) => self.conditional(expr.at, parts),
            ExprKind::Binary(Operator::Index, parts) => self.index(expr.at, parts),
            ExprKind::Binary(Operator::In, parts) => self.contained(expr.at, parts),
            ExprKind::Binary(operator, parts) => self.binary(expr.at, *operator, parts),
        }
    }

    /// A part that has to be true or false.
    pub(super) fn condition(&mut self, expr: &Expr, who: &str) -> Result<Checked, CelError> {
        let checked = self.part(expr)?;
        if !assignable(&checked.of, &Type::Bool) {
            return Err(self.error(expr.at, format!("{who} a bool, not {}", checked.of)));
        }
        Ok(checked)
    }

    fn name(&mut self, at: usize, name: &str) -> Result<Checked, CelError> {
        if let Some(slot) = self.scope.iter().rposition(|variable| variable.name == name) {
            let Variable { of, size, .. } = &self.scope[slot];
            let (of, size) = (of.clone(), *size);
            let node = self.node(at, Kind::Variable(slot));
            return Ok(Checked { node, of, size, cost: 1 });
        }
        if self.schema.field(name).is_some() {
            return self.fact(at, name);
        }
        if self.schema.roots().any(|root| root == name) {
            let prefix = format!("{name}.");
            let example = self.schema.fields().find(|field| field.path.starts_with(&prefix));
            let example = example.map_or(name, |field| field.path);
            let message = format!("`{name}` is read by its fields, such as `{example}`");
            return Err(self.error(at, message));
        }
        let variables = self.scope.iter().map(|variable| variable.name.as_str());
        let roots = self.schema.roots().map(|root| -> &str { root });
        let near = nearest(name, variables.chain(roots)).map(str::to_owned);
        Err(self.error(at, format!("there is no `{name}`")).with_nearest(near))
    }

    fn fact(&mut self, at: usize, path: &str) -> Result<Checked, CelError> {
        let Some(field) = self.schema.field(path) else {
            let root = path.split('.').next().unwrap_or(path);
            let prefix = format!("{root}.");
            let siblings = self.schema.fields().map(|field| field.path);
            let siblings = siblings.filter(|path| path.starts_with(&prefix));
            let near = nearest(path, siblings).map(str::to_owned);
            return Err(self.error(at, format!("there is no `{path}`")).with_nearest(near));
        };
        let (path, of) = (field.path, field.of.clone());
        let size = Size::of(&of, u64::from(field.max));
        self.needs.insert(path);
        Ok(Checked { node: self.node(at, Kind::Fact(path)), of, size, cost: 1 })
    }

    /// The path of a fact, if the part and the field spell one.
    fn path(&self, of: &Expr, field: &str) -> Option<String> {
        let ExprKind::Name(root) = &of.kind else { return None };
        let variable = self.scope.iter().any(|variable| variable.name == *root);
        let holds_fields = self.schema.field(root).is_none()
            && self.schema.roots().any(|candidate| candidate == root);
        (!variable && holds_fields).then(|| format!("{root}.{field}"))
    }

    fn select(&mut self, at: usize, of: &Expr, field: &str) -> Result<Checked, CelError> {
        if let Some(path) = self.path(of, field) {
            return self.fact(at, &path);
        }
        let of = self.member(at, of, field)?;
        let (value, size) = member_of(&of);
        let node = self.node(at, Kind::Member(Box::new(of.node), field.to_owned()));
        Ok(Checked { node, of: value, size, cost: of.cost + 1 })
    }

    /// `has(of.field)`: whether a map has a key.
    pub(super) fn has(&mut self, at: usize, of: &Expr, field: &str) -> Result<Checked, CelError> {
        if let Some(path) = self.path(of, field) {
            self.fact(at, &path)?;
            let message = format!("`{path}` is always there; has() asks for a key of a map");
            return Err(self.error(at, message));
        }
        let of = self.member(at, of, field)?;
        let node = self.node(at, Kind::Has(Box::new(of.node), field.to_owned()));
        Ok(Checked { node, of: Type::Bool, size: Size::ONE, cost: of.cost + 1 })
    }

    fn member(&mut self, at: usize, of: &Expr, field: &str) -> Result<Checked, CelError> {
        let of = self.part(of)?;
        match of.of {
            Type::Map(_) | Type::Dyn => Ok(of),
            other => {
                let message = format!("`.{field}` needs a map before it, not {other}");
                Err(self.error(at, message))
            }
        }
    }

    fn list(&mut self, at: usize, items: &[Expr]) -> Result<Checked, CelError> {
        let (mut nodes, mut of, mut cost, mut largest) = (Vec::new(), None, 1_u64, 1);
        for item in items {
            let item = self.part(item)?;
            of = Some(of.map_or_else(|| item.of.clone(), |of| common(&of, &item.of)));
            cost = cost.saturating_add(item.cost).saturating_add(1);
            largest = largest.max(item.size.length);
            nodes.push(item.node);
        }
        let size = Size::items(nodes.len() as u64, largest);
        let node = self.node(at, Kind::List(nodes));
        Ok(Checked { node, of: of.unwrap_or(Type::Dyn).list(), size, cost })
    }

    fn map(&mut self, at: usize, entries: &[(Expr, Expr)]) -> Result<Checked, CelError> {
        let (mut nodes, mut of, mut cost, mut largest) = (Vec::new(), None, 1_u64, 1);
        for (key, value) in entries {
            let place = key.at;
            let key = self.part(key)?;
            if !assignable(&key.of, &Type::String) {
                let message = format!("keys of maps are string here, not {}", key.of);
                return Err(self.error(place, message));
            }
            let value = self.part(value)?;
            of = Some(of.map_or_else(|| value.of.clone(), |of| common(&of, &value.of)));
            cost = cost.saturating_add(key.cost).saturating_add(value.cost).saturating_add(1);
            largest = largest.max(value.size.length);
            nodes.push((key.node, value.node));
        }
        let size = Size::items(nodes.len() as u64, largest);
        let node = self.node(at, Kind::Map(nodes));
        Ok(Checked { node, of: of.unwrap_or(Type::Dyn).map(), size, cost })
    }

    fn negate(&mut self, at: usize, operand: &Expr) -> Result<Checked, CelError> {
        let operand = self.part(operand)?;
        if !matches!(operand.of, Type::Int | Type::Double | Type::Dyn) {
            return Err(self.error(at, format!("- needs a number, not {}", operand.of)));
        }
        let node = self.node(at, Kind::Negate(Box::new(operand.node)));
        Ok(Checked { node, of: operand.of, size: Size::ONE, cost: operand.cost + 1 })
    }

    fn logic(
        &mut self,
        at: usize,
        terms: &[Expr],
        who: &str,
        kind: fn(Vec<Node>) -> Kind,
    ) -> Result<Checked, CelError> {
        let (mut nodes, mut cost) = (Vec::new(), 1_u64);
        for term in terms {
            let term = self.condition(term, who)?;
            cost = cost.saturating_add(term.cost);
            nodes.push(term.node);
        }
        let node = self.node(at, kind(nodes));
        Ok(Checked { node, of: Type::Bool, size: Size::ONE, cost })
    }

    fn conditional(&mut self, at: usize, parts: &[Expr; 3]) -> Result<Checked, CelError> {
        let condition = self.condition(&parts[0], "? needs")?;
        let (yes, no) = (self.part(&parts[1])?, self.part(&parts[2])?);
        if !comparable(&yes.of, &no.of) {
            let message = format!("the choice is between {} and {}", yes.of, no.of);
            return Err(self.error(at, message));
        }
        let kind = Kind::Conditional(Box::new([condition.node, yes.node, no.node]));
        let cost = condition.cost.saturating_add(yes.cost.max(no.cost)).saturating_add(1);
        let of = common(&yes.of, &no.of);
        Ok(Checked { node: self.node(at, kind), of, size: yes.size.or(no.size), cost })
    }

    fn index(&mut self, at: usize, parts: &[Expr; 2]) -> Result<Checked, CelError> {
        let (of, key) = (self.part(&parts[0])?, self.part(&parts[1])?);
        let fits = match &of.of {
            Type::Map(_) => assignable(&key.of, &Type::String),
            Type::List(_) => assignable(&key.of, &Type::Int),
            Type::Dyn => assignable(&key.of, &Type::String) || key.of == Type::Int,
            _ => false,
        };
        if !fits {
            let message = format!("{} cannot be indexed by {}", of.of, key.of);
            return Err(self.error(at, message));
        }
        let (value, size) = member_of(&of);
        let cost = of.cost.saturating_add(key.cost).saturating_add(1);
        let kind = Kind::Binary(Operator::Index, Box::new([of.node, key.node]));
        Ok(Checked { node: self.node(at, kind), of: value, size, cost })
    }

    fn contained(&mut self, at: usize, parts: &[Expr; 2]) -> Result<Checked, CelError> {
        let (item, of) = (self.part(&parts[0])?, self.part(&parts[1])?);
        let (fits, steps) = match &of.of {
            Type::Map(_) => (assignable(&item.of, &Type::String), 1),
            Type::List(each) => (comparable(&item.of, each), of.size.length),
            Type::Dyn => (true, of.size.count(&of.of)),
            other => {
                let message = format!("`in` needs a list or a map after it, not {other}");
                return Err(self.error(at, message));
            }
        };
        if !fits {
            let message = format!("{} is never in {}", item.of, of.of);
            return Err(self.error(at, message));
        }
        let cost = item.cost.saturating_add(of.cost).saturating_add(steps).saturating_add(1);
        let kind = Kind::Binary(Operator::In, Box::new([item.node, of.node]));
        Ok(Checked { node: self.node(at, kind), of: Type::Bool, size: Size::ONE, cost })
    }

    fn binary(
        &mut self,
        at: usize,
        operator: Operator,
        parts: &[Expr; 2],
    ) -> Result<Checked, CelError> {
        let (left, right) = (self.part(&parts[0])?, self.part(&parts[1])?);
        let Some(of) = result(operator, &left.of, &right.of) else {
            let message = match operator {
                Operator::Equal | Operator::NotEqual => {
                    format!("{} never equals {}", left.of, right.of)
                }
                _ => format!("`{}` does not take {} and {}", operator.as_str(), left.of, right.of),
            };
            return Err(self.error(at, message));
        };
        let (mut size, mut steps) =
            (Size::ONE, steps_of_text(left.size.length.min(right.size.length)));
        if matches!(left.of, Type::List(_) | Type::Map(_)) {
            steps = 1 + left.size.length;
        }
        if operator == Operator::Add {
            let length = left.size.length.saturating_add(right.size.length);
            size = match of {
                Type::String => Size::text(length),
                Type::List(_) => Size::items(length, left.size.item.max(right.size.item)),
                Type::Dyn => Size::unknown(&Type::Dyn).or(Size::items(length, 1)),
                _ => Size::ONE,
            };
            steps =
                if matches!(of, Type::List(_)) { 1 + length } else { steps_of_text(size.length) };
        }
        let cost = left.cost.saturating_add(right.cost).saturating_add(steps);
        let kind = Kind::Binary(operator, Box::new([left.node, right.node]));
        Ok(Checked { node: self.node(at, kind), of, size, cost })
    }
}

/// What looking a key up in it gives.
fn member_of(of: &Checked) -> (Type, Size) {
    match &of.of {
        Type::Map(value) | Type::List(value) => ((**value).clone(), Size::of(value, of.size.item)),
        _ => (Type::Dyn, Size::unknown(&Type::Dyn)),
    }
}

/// Whether a value of one type may be used where another is wanted; what is only known when evaluated
/// is looked at then.
pub(super) fn assignable(from: &Type, to: &Type) -> bool {
    match (from, to) {
        (Type::Dyn, _) | (_, Type::Dyn) => true,
        (Type::List(from), Type::List(to)) | (Type::Map(from), Type::Map(to)) => {
            assignable(from, to)
        }
        _ => from == to,
    }
}

/// Whether two values may be equal.
fn comparable(left: &Type, right: &Type) -> bool {
    assignable(left, right) || (number(left) && number(right))
}

fn number(of: &Type) -> bool {
    matches!(of, Type::Int | Type::Double)
}

/// The type of what may be either.
fn common(left: &Type, right: &Type) -> Type {
    match (left, right) {
        (Type::List(left), Type::List(right)) => common(left, right).list(),
        (Type::Map(left), Type::Map(right)) => common(left, right).map(),
        _ if left == right => left.clone(),
        _ => Type::Dyn,
    }
}

/// The type that an operator gives for two types, if it takes them.
fn result(operator: Operator, left: &Type, right: &Type) -> Option<Type> {
    use Operator::{Add, Divide, Equal, Multiply, NotEqual, Remainder, Subtract};
    use Type::{Double, Duration, Dyn, Int, List, String, Timestamp};
    match operator {
        Equal | NotEqual => return comparable(left, right).then_some(Type::Bool),
        Add | Subtract | Multiply | Divide | Remainder => {}
        _ => {
            let orders = |of: &Type| !matches!(of, Type::Null | List(_) | Type::Map(_));
            let fits = comparable(left, right) && orders(left) && orders(right);
            return fits.then_some(Type::Bool);
        }
    }
    // Whether any type fits in place of one that is not known yet.
    let knowns = [Int, Double, String, Duration, Timestamp, Dyn.list()];
    Some(match (operator, left, right) {
        (_, Dyn, Dyn) => Dyn,
        (_, Dyn, known) => {
            return knowns.iter().any(|of| result(operator, of, known).is_some()).then_some(Dyn);
        }
        (_, known, Dyn) => {
            return knowns.iter().any(|of| result(operator, known, of).is_some()).then_some(Dyn);
        }
        (_, Int, Int) => Int,
        (Add | Subtract | Multiply | Divide, Double, Double) => Double,
        (Add, String, String) => String,
        (Add, List(left), List(right)) => common(left, right).list(),
        (Add, Timestamp, Duration)
        | (Add, Duration, Timestamp)
        | (Subtract, Timestamp, Duration) => Timestamp,
        (Add | Subtract, Duration, Duration) | (Subtract, Timestamp, Timestamp) => Duration,
        _ => return None,
    })
}
