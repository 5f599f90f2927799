//! The secret token that callers of a service send.

use std::{error, fmt, sync::Arc};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A secret of 1 to 512 visible ASCII characters, which fits into a header unchanged.
///
/// It has no `PartialEq`, `Display` or `Serialize`: `auth` compares tokens in constant time, and a token must not get
/// into a log or an answer by accident.
#[derive(Clone)]
pub struct Token(Arc<str>);

/// The source of a service's token.
#[derive(Clone, Debug)]
pub enum TokenPolicy {
    /// The file has it.
    Given(Token),
    /// The host makes one when the service is created.
    Generate,
    /// `generate_token` is false and no token is given: callers need none.
    Public,
}

/// The strength of a token against guessing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    Guessable,
    /// As hard to guess as a key. Generated tokens are.
    Unguessable,
}

/// The error for a text that is not a token. It does not contain the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadToken;

impl Token {
    /// A new token: 240 random bits, in characters that are safe in a header, a URL and a command line. It begins and ends
    /// with a letter or a digit, so that no program takes it for an option and a double click selects all of it.
    ///
    /// # Errors
    /// If the operating system provides no randomness.
    pub fn generate() -> Result<Self, getrandom::Error> {
        loop {
            let mut bits = [0; 30];
            getrandom::fill(&mut bits)?;
            let text = URL_SAFE_NO_PAD.encode(bits);
            // One text in sixteen begins or ends with another character. Then a new text is drawn.
            if text.starts_with(char::is_alphanumeric) && text.ends_with(char::is_alphanumeric) {
                return Ok(Self(text.into()));
            }
        }
    }

    pub const ACCEPTED: &'static str = "1 to 512 visible ASCII characters";

    pub fn parse(text: &str) -> Result<Self, BadToken> {
        let good = (1..=512).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if good { Ok(Self(text.into())) } else { Err(BadToken) }
    }

    /// Judges the strength. A token of 32 characters with 10 different ones holds 128 bits if it was drawn at random; a
    /// shorter one may be a word.
    pub fn strength(&self) -> Strength {
        const LEAST: usize = 32;
        const LEAST_DIFFERENT: u32 = 10;
        let seen = self.0.bytes().fold(0_u128, |seen, byte| seen | 1 << (byte & 0x7f));
        let is_strong = self.0.len() >= LEAST && seen.count_ones() >= LEAST_DIFFERENT;
        if is_strong { Strength::Unguessable } else { Strength::Guessable }
    }

    /// The secret itself. The caller is responsible for where it goes.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl fmt::Display for BadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a token is {}", Token::ACCEPTED)
    }
}

impl error::Error for BadToken {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fits_into_a_header_and_never_shows_itself() {
        let longest = "x".repeat(512);
        for good in ["t", "YWxhZGRpbg==", "!~", &longest] {
            let token = Token::parse(good).unwrap();
            assert_eq!(token.reveal(), good);
            assert_eq!(format!("{token:?} {:?}", TokenPolicy::Given(token.clone())), "Token(…) Given(Token(…))");
        }
        let strength = |text: &str| Token::parse(text).unwrap().strength();
        for guessable in ["secret", &"k".repeat(40), "correct-horse-battery-staple", "0123456789abcdef0123456789abcde"]
        {
            assert_eq!(strength(guessable), Strength::Guessable, "{guessable}");
        }
        for strong in ["d41d8cd98f00b204e9800998ecf8427e", "3fa85f64-5717-4562-b3fc-2c963f66afa6"] {
            assert_eq!(strength(strong), Strength::Unguessable, "{strong}");
        }
        assert!(Strength::Guessable < Strength::Unguessable, "of two tokens the weaker one counts");
        let too_long = "x".repeat(513);
        for bad in ["", "a b", "a\t", "tök", "a\u{7f}", &too_long] {
            assert!(Token::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn generated_tokens_differ_and_nobody_guesses_them() {
        let (a, b) = (Token::generate().unwrap(), Token::generate().unwrap());
        assert_ne!(a.reveal(), b.reveal());
        assert_eq!(a.reveal().len(), 40);
        assert_eq!(a.strength(), Strength::Unguessable);
    }

    /// One in 64 random texts begins with a hyphen; clap took `--admin-token -CZQw…` for an option `-C`.
    #[test]
    fn a_generated_token_is_never_taken_for_an_option() {
        for _ in 0..2000 {
            let token = Token::generate().unwrap();
            let (first, last) = (token.reveal().as_bytes()[0], token.reveal().as_bytes()[39]);
            assert!(first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric(), "{}", token.reveal());
        }
    }
}
