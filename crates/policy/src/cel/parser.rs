//! From tokens to a tree, after the grammar of
//! <https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax>, with bounds on everything.

use super::CelError;
use super::lexer::{Token, tokens};
use super::syntax::{Expr, ExprKind, Operator};

/// The longest text in bytes.
pub(super) const MAX_TEXT_BYTES: usize = 4096;
/// The most parts of one expression.
const MAX_NODES: usize = 1024;
/// How deep parts and parentheses may be within each other.
const MAX_DEPTH: usize = 64;

/// Words that CEL keeps for itself or for the languages it is embedded in.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Reads one expression.
pub(super) fn parse(text: &str) -> Result<Expr, CelError> {
    if text.len() > MAX_TEXT_BYTES {
        let message = format!("it has {} bytes; at most {MAX_TEXT_BYTES} are allowed", text.len());
        return Err(CelError::new(text, 0, message));
    }
    let mut parser = Parser { text, tokens: tokens(text)?, next: 0, nodes: 0, depth: 0 };
    let expression = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(expression),
        found => {
            let message = format!("{} is not expected here", found.describe());
            Err(parser.error_here(message))
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token, usize)>,
    next: usize,
    nodes: usize,
    depth: usize,
}

/// How tightly operators bind.
fn binary(token: &Token) -> Option<(Option<Operator>, u8)> {
    Some(match token {
        Token::Sign("||") => (None, 1),
        Token::Sign("&&") => (None, 2),
        Token::Sign("==") => (Some(Operator::Equal), 3),
        Token::Sign("!=") => (Some(Operator::NotEqual), 3),
        Token::Sign("<") => (Some(Operator::Less), 3),
        Token::Sign("<=") => (Some(Operator::LessOrEqual), 3),
        Token::Sign(">") => (Some(Operator::Greater), 3),
        Token::Sign(">=") => (Some(Operator::GreaterOrEqual), 3),
        Token::Name(name) if name == "in" => (Some(Operator::In), 3),
        Token::Sign("+") => (Some(Operator::Add), 4),
        Token::Sign("-") => (Some(Operator::Subtract), 4),
        Token::Sign("*") => (Some(Operator::Multiply), 5),
        Token::Sign("/") => (Some(Operator::Divide), 5),
        Token::Sign("%") => (Some(Operator::Remainder), 5),
        _ => return None,
    })
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |(token, _)| token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.text.len(), |(_, at)| *at)
    }

    fn advance(&mut self) -> (Token, usize) {
        let taken = self.tokens.get(self.next).cloned();
        self.next += 1;
        taken.unwrap_or((Token::End, self.text.len()))
    }

    fn eat(&mut self, sign: &'static str) -> bool {
        let there = *self.peek() == Token::Sign(sign);
        if there {
            self.next += 1;
        }
        there
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), CelError> {
        if self.eat(sign) {
            return Ok(());
        }
        let found = self.peek().describe();
        Err(self.error_here(format!("`{sign}` is expected here, not {found}")))
    }

    fn error_here(&self, message: String) -> CelError {
        CelError::new(self.text, self.at(), message)
    }

    /// Makes a part, if there may be one more and none below it is too deep.
    fn node(&mut self, kind: ExprKind, at: usize) -> Result<Expr, CelError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("it has more than {MAX_NODES} parts");
            return Err(CelError::new(self.text, at, message));
        }
        let height = 1 + match &kind {
            ExprKind::Select { of, .. } | ExprKind::Not(of) | ExprKind::Negate(of) => of.height,
            ExprKind::Call { target, arguments, .. } => {
                tallest(arguments.iter().chain(target.as_deref()))
            }
            ExprKind::List(items) | ExprKind::And(items) | ExprKind::Or(items) => tallest(items),
            ExprKind::Map(entries) => tallest(entries.iter().flat_map(|(key, value)| [key, value])),
            ExprKind::Conditional(parts) => tallest(parts.iter()),
            ExprKind::Binary(_, parts) => tallest(parts.iter()),
            _ => 0,
        };
        if height > MAX_DEPTH {
            return Err(self.too_deep(at));
        }
        Ok(Expr { kind, at, height })
    }

    fn too_deep(&self, at: usize) -> CelError {
        CelError::new(self.text, at, format!("its parts are nested more than {MAX_DEPTH} deep"))
    }

    fn expression(&mut self) -> Result<Expr, CelError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.too_deep(self.at()));
        }
        let condition = self.binary(1)?;
        let at = self.at();
        let whole = if self.eat("?") {
            let yes = self.binary(1)?;
            self.expect(":")?;
            let no = self.expression()?;
            self.node(ExprKind::Conditional(Box::new([condition, yes, no])), at)?
        } else {
            condition
        };
        self.depth -= 1;
        Ok(whole)
    }

    /// Operators that bind at least as tightly as `least`.
    fn binary(&mut self, least: u8) -> Result<Expr, CelError> {
        let mut left = self.unary()?;
        while let Some((operator, binds)) = binary(self.peek()) {
            if binds < least {
                break;
            }
            let (_, at) = self.advance();
            let right = self.binary(binds + 1)?;
            let kind = match operator {
                Some(operator) => ExprKind::Binary(operator, Box::new([left, right])),
                None if binds == 1 => match left.kind {
                    ExprKind::Or(terms) => ExprKind::Or(with(terms, right)),
                    _ => ExprKind::Or(vec![left, right]),
                },
                None => match left.kind {
                    ExprKind::And(terms) => ExprKind::And(with(terms, right)),
                    _ => ExprKind::And(vec![left, right]),
                },
            };
            left = self.node(kind, at)?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr, CelError> {
        let mut signs = Vec::new();
        while matches!(self.peek(), Token::Sign("!" | "-")) {
            signs.push(self.advance());
            if signs.len() > MAX_DEPTH {
                return Err(self.too_deep(self.at()));
            }
        }
        // The smallest number has no positive: a minus right before a number belongs to it.
        let negative = match (signs.last(), self.peek()) {
            (Some((Token::Sign("-"), at)), Token::Int(_) | Token::Double(_)) => Some(*at),
            _ => None,
        };
        if negative.is_some() {
            signs.pop();
        }
        let mut operand = self.member(negative)?;
        for (sign, at) in signs.into_iter().rev() {
            let kind = match sign {
                Token::Sign("!") => ExprKind::Not(Box::new(operand)),
                _ => ExprKind::Negate(Box::new(operand)),
            };
            operand = self.node(kind, at)?;
        }
        Ok(operand)
    }

    fn member(&mut self, negative: Option<usize>) -> Result<Expr, CelError> {
        let mut of = self.primary(negative)?;
        loop {
            let at = self.at();
            if self.eat(".") {
                let at = self.at();
                let Token::Name(field) = self.advance().0 else {
                    let message =
                        "a name is expected after the dot; other keys are written [\"key\"]";
                    return Err(CelError::new(self.text, at, message.to_owned()));
                };
                let kind = if self.eat("(") {
                    let arguments = self.items(")")?;
                    ExprKind::Call { target: Some(Box::new(of)), name: field, arguments }
                } else {
                    ExprKind::Select { of: Box::new(of), field }
                };
                of = self.node(kind, at)?;
            } else if self.eat("[") {
                let key = self.expression()?;
                self.expect("]")?;
                of = self.node(ExprKind::Binary(Operator::Index, Box::new([of, key])), at)?;
            } else {
                return Ok(of);
            }
        }
    }

    fn primary(&mut self, negative: Option<usize>) -> Result<Expr, CelError> {
        let (token, at) = self.advance();
        let kind = match token {
            Token::Int(magnitude) => return self.int(magnitude, negative, at),
            Token::Double(number) => {
                let number = if negative.is_some() { -number } else { number };
                ExprKind::Double(number)
            }
            Token::String(text) => ExprKind::String(text),
            Token::Name(name) => match name.as_str() {
                "null" => ExprKind::Null,
                "true" => ExprKind::Bool(true),
                "false" => ExprKind::Bool(false),
                reserved if reserved == "in" || RESERVED.contains(&reserved) => {
                    let message = format!("`{reserved}` is a word that CEL keeps for itself");
                    return Err(CelError::new(self.text, at, message));
                }
                _ if self.eat("(") => {
                    let arguments = self.items(")")?;
                    ExprKind::Call { target: None, name, arguments }
                }
                _ => ExprKind::Name(name),
            },
            Token::Sign("(") => {
                let inner = self.expression()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Token::Sign("[") => ExprKind::List(self.items("]")?),
            Token::Sign("{") => ExprKind::Map(self.entries()?),
            other => {
                let message = format!("a value is expected here, not {}", other.describe());
                return Err(CelError::new(self.text, at, message));
            }
        };
        self.node(kind, negative.unwrap_or(at))
    }

    fn int(
        &mut self,
        magnitude: u64,
        negative: Option<usize>,
        at: usize,
    ) -> Result<Expr, CelError> {
        let number = match negative {
            Some(_) => 0_i64.checked_sub_unsigned(magnitude),
            None => i64::try_from(magnitude).ok(),
        };
        let Some(number) = number else {
            let message = "the number does not fit 64 bits with a sign".to_owned();
            return Err(CelError::new(self.text, at, message));
        };
        self.node(ExprKind::Int(number), negative.unwrap_or(at))
    }

    /// What is between brackets, with commas between; of a list, one may follow the last.
    fn items(&mut self, end: &'static str) -> Result<Vec<Expr>, CelError> {
        let mut items = Vec::new();
        if self.eat(end) {
            return Ok(items);
        }
        loop {
            items.push(self.expression()?);
            if self.eat(end) {
                return Ok(items);
            }
            if !self.eat(",") {
                let found = self.peek().describe();
                return Err(
                    self.error_here(format!("`,` or `{end}` is expected here, not {found}"))
                );
            }
            if end == "]" && self.eat(end) {
                return Ok(items);
            }
        }
    }

    fn entries(&mut self) -> Result<Vec<(Expr, Expr)>, CelError> {
        let mut entries = Vec::new();
        while !self.eat("}") {
            let key = self.expression()?;
            self.expect(":")?;
            entries.push((key, self.expression()?));
            if !self.eat(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(entries)
    }
}

fn tallest<'e>(parts: impl IntoIterator<Item = &'e Expr>) -> usize {
    parts.into_iter().map(|part| part.height).max().unwrap_or(0)
}

fn with(mut terms: Vec<Expr>, term: Expr) -> Vec<Expr> {
    terms.push(term);
    terms
}
