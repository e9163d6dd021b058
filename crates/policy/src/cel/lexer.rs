//! From characters to tokens, after the lexical part of
//! <https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax>.

use super::CelError;

/// The smallest part of a text that means something.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A whole number without its sign.
    Int(u64),
    Double(f64),
    String(String),
    /// A name or a word of the language such as `true` and `in`.
    Name(String),
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

impl Token {
    /// As messages show it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Int(number) => format!("`{number}`"),
            Self::Double(number) => format!("`{number}`"),
            Self::String(_) => "a text".to_owned(),
            Self::Name(name) => format!("`{name}`"),
            Self::Sign(sign) => format!("`{sign}`"),
            Self::End => "the end".to_owned(),
        }
    }
}

/// Longer ones first, so that `<=` is not read as `<` and `=`.
const SIGNS: [&str; 25] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "?", ":", "+", "-", "*", "/", "%", "(", ")",
    "[", "]", "{", "}", ",", ".", "=",
];

/// All tokens of a text and the byte at which each begins; the last is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, usize)>, CelError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let at = lexer.at;
        let token = lexer.token()?;
        let last = token == Token::End;
        tokens.push((token, at));
        if last {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn error(&self, at: usize, message: impl Into<String>) -> CelError {
        CelError::new(self.text, at, message.into())
    }

    fn take_while(&mut self, fits: impl Fn(u8) -> bool) -> usize {
        let start = self.at;
        while self.text.as_bytes().get(self.at).is_some_and(|byte| fits(*byte)) {
            self.at += 1;
        }
        self.at - start
    }

    fn skip_blanks(&mut self) {
        loop {
            self.take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0c));
            if !self.rest().starts_with("//") {
                return;
            }
            self.take_while(|byte| byte != b'\n');
        }
    }

    fn token(&mut self) -> Result<Token, CelError> {
        let first = self.peek(0);
        if self.rest().is_empty() {
            return Ok(Token::End);
        }
        if first.is_ascii_digit() || (first == b'.' && self.peek(1).is_ascii_digit()) {
            return self.number();
        }
        if let Some(prefix) = self.prefix_of_text() {
            return self.string(prefix);
        }
        if first.is_ascii_alphabetic() || first == b'_' {
            let start = self.at;
            self.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            return Ok(Token::Name(self.text[start..self.at].to_owned()));
        }
        match SIGNS.into_iter().find(|sign| self.rest().starts_with(sign)) {
            Some("=") => {
                Err(self.error(self.at, "`=` assigns nothing here; to compare, write `==`"))
            }
            Some(sign) => {
                self.at += sign.len();
                Ok(Token::Sign(sign))
            }
            None => {
                let found = self.rest().chars().next().unwrap_or_default();
                Err(self.error(self.at, format!("{found:?} has no meaning here")))
            }
        }
    }

    fn number(&mut self) -> Result<Token, CelError> {
        let start = self.at;
        if self.peek(0) == b'0' && matches!(self.peek(1), b'x' | b'X') {
            self.at += 2;
            self.take_while(|byte| byte.is_ascii_hexdigit());
            let number = u64::from_str_radix(&self.text[start + 2..self.at], 16);
            return self.whole(start, number.ok());
        }
        self.take_while(|byte| byte.is_ascii_digit());
        let mut whole = true;
        if self.peek(0) == b'.' && self.peek(1).is_ascii_digit() {
            whole = false;
            self.at += 1;
            self.take_while(|byte| byte.is_ascii_digit());
        }
        let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
        if matches!(self.peek(0), b'e' | b'E') && self.peek(1 + sign).is_ascii_digit() {
            whole = false;
            self.at += 1 + sign;
            self.take_while(|byte| byte.is_ascii_digit());
        }
        let digits = &self.text[start..self.at];
        if whole {
            let number = digits.parse().ok();
            return self.whole(start, number);
        }
        match digits.parse::<f64>() {
            Ok(number) if number.is_finite() => self.end_of_number(start, Token::Double(number)),
            _ => Err(self.error(start, "the number is too large")),
        }
    }

    fn whole(&mut self, start: usize, number: Option<u64>) -> Result<Token, CelError> {
        match number {
            Some(number) => self.end_of_number(start, Token::Int(number)),
            None => Err(self.error(start, "the number does not fit 64 bits")),
        }
    }

    fn end_of_number(&mut self, start: usize, token: Token) -> Result<Token, CelError> {
        match self.peek(0) {
            b'u' | b'U' => {
                Err(self.error(start, "unsigned numbers are not supported; leave out the u"))
            }
            byte if byte.is_ascii_alphanumeric() || byte == b'_' => {
                Err(self.error(start, "a number is followed by a letter"))
            }
            _ => Ok(token),
        }
    }

    /// What stands before the quote of a text that begins here: nothing, `r`, `b` or both.
    fn prefix_of_text(&self) -> Option<usize> {
        let letters = self.text.as_bytes()[self.at..]
            .iter()
            .take(2)
            .take_while(|byte| matches!(byte, b'r' | b'R' | b'b' | b'B'))
            .count();
        matches!(self.peek(letters), b'"' | b'\'').then_some(letters)
    }

    fn string(&mut self, prefix: usize) -> Result<Token, CelError> {
        let start = self.at;
        let letters = self.text[start..start + prefix].to_ascii_lowercase();
        if letters.contains('b') || letters == "rr" {
            return Err(self.error(start, "bytes are not supported; write a text without a prefix"));
        }
        self.at += prefix;
        let quote = self.peek(0);
        let tripled = self.peek(1) == quote && self.peek(2) == quote;
        let end = match (quote, tripled) {
            (b'"', true) => "\"\"\"",
            (b'"', false) => "\"",
            (_, true) => "'''",
            (_, false) => "'",
        };
        self.at += end.len();
        let mut value = String::new();
        loop {
            if self.rest().starts_with(end) {
                self.at += end.len();
                return Ok(Token::String(value));
            }
            let next = self.rest().chars().next();
            match next {
                None => return Err(self.error(start, format!("the text has no closing {end}"))),
                Some('\n' | '\r') if !tripled => {
                    return Err(
                        self.error(start, format!("the text has no closing {end} in its line"))
                    );
                }
                Some('\\') if prefix == 0 => value.push(self.escape()?),
                Some(character) => {
                    self.at += character.len_utf8();
                    value.push(character);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, CelError> {
        let start = self.at;
        let letter = self.peek(1);
        self.at += 2;
        let (digits, radix) = match letter {
            b'x' | b'X' => (2, 16),
            b'u' => (4, 16),
            b'U' => (8, 16),
            b'0'..=b'3' => {
                self.at -= 1;
                (3, 8)
            }
            _ => {
                let at = b"abfnrtv\\'\"`?".iter().position(|it| *it == letter);
                let meant = at.and_then(|at| "\u{7}\u{8}\u{c}\n\r\t\u{b}\\'\"`?".chars().nth(at));
                return meant.ok_or_else(|| {
                    self.error(
                        start,
                        "no such escape; for a backslash, write \\\\ or a text with r before it",
                    )
                });
            }
        };
        let digits = self.text.get(self.at..self.at + digits).unwrap_or_default();
        self.at += digits.len();
        Some(digits)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|digits| u32::from_str_radix(digits, radix).ok())
            .and_then(char::from_u32)
            .ok_or_else(|| self.error(start, "the escape names no character"))
    }
}
