//! The secrets of one service: the current token, and while clients move over to it, the one before.

use crate::config::{Strength, Token};

use super::is_token;
use super::signature::Key;

/// What callers of a service may show. Both tokens are worth the same.
#[derive(Debug)]
pub struct Tokens {
    current: Secret,
    previous: Option<Secret>,
    strength: Strength,
}

/// A token, and what signatures are checked with: made once, because it costs as much as the check itself.
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

    /// The strength of the weaker one.
    pub fn strength(&self) -> Strength {
        self.strength
    }

    /// Compares in a time that depends only on the lengths, and on how many tokens there are.
    pub(super) fn accept(&self, candidate: &[u8]) -> bool {
        let is_one = |secret: &Secret| is_token(&secret.token, candidate);
        is_one(&self.current) | self.previous.as_ref().is_some_and(is_one)
    }

    /// Whether one of the tokens makes a signature for which `matches` is true.
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
