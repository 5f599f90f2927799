//! The secrets of one service: the current token, and the previous one while clients change over.

use crate::config::{Strength, Token};

use super::is_token;
use super::signature::Key;

/// The tokens that callers of a service may show. Both are equally valid.
#[derive(Debug)]
pub struct Tokens {
    current: Secret,
    previous: Option<Secret>,
    strength: Strength,
}

/// A token and its signing key. The key is made once, because making it costs as much as checking a signature.
#[derive(Debug)]
struct Secret {
    token: Token,
    key: Key,
}

impl Tokens {
    pub fn new(current: Token, previous: Option<Token>) -> Self {
        let strength = current.strength().min(previous.as_ref().map_or(Strength::Unguessable, Token::strength));
        Self { current: current.into(), previous: previous.map(Secret::from), strength }
    }

    /// Returns the strength of the weaker token.
    pub fn strength(&self) -> Strength {
        self.strength
    }

    /// True if `candidate` is one of the tokens. Compares in a time that depends only on the lengths and the number of
    /// tokens.
    pub(super) fn accept(&self, candidate: &[u8]) -> bool {
        let is_one = |secret: &Secret| is_token(&secret.token, candidate);
        is_one(&self.current) | self.previous.as_ref().is_some_and(is_one)
    }

    /// True if `matches` is true for the key of one of the tokens.
    pub(super) fn has_signed(&self, matches: impl Fn(&Key) -> bool) -> bool {
        matches(&self.current.key) || self.previous.as_ref().is_some_and(|previous| matches(&previous.key))
    }
}

impl From<Token> for Secret {
    fn from(token: Token) -> Self {
        let key = Key::of(&token);
        Self { token, key }
    }
}
