use std::fmt::{self, Debug, Display, Formatter};

/// A processor's failure: a status and a sentence for the caller.
///
/// Every standard error converts to this type, so `?` works. Such an error has status 0: the service chooses the status
/// (`sandbox.trap_status`, 400 unless set). Like other types with that conversion, it is not a [`std::error::Error`]
/// itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    pub(crate) status: u16,
    pub(crate) message: String,
}

impl Error {
    /// Makes an error that answers with `status`, 400 to 599, and the message as the body. Status 0 leaves the status
    /// to the service.
    pub fn new(status: u16, message: impl Display) -> Self {
        Self { status, message: message.to_string() }
    }

    /// Returns the status for the caller: 400 to 599, or 0 if the service chooses it.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the sentence for the caller.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl<E: std::error::Error> From<E> for Error {
    /// Joins the error's message and those of its causes with colons.
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Self { status: 0, message }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Prints the sentence, for `unwrap` and for `fn main() -> Result<(), Error>`.
impl Debug for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.status {
            0 => f.write_str(&self.message),
            status => write!(f, "{} (status {status})", self.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);

    impl Display for Outer {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            f.write_str("bad age")
        }
    }

    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn any_error_turns_into_one_without_a_status() {
        fn parse(text: &str) -> Result<u8, Error> {
            Ok(text.parse()?)
        }
        let error = parse("ten").unwrap_err();
        assert_eq!(error.status(), 0);
        assert_eq!(error.message(), "invalid digit found in string");
    }

    #[test]
    fn causes_are_told_in_order() {
        let cause = "x".parse::<u8>().unwrap_err();
        let error = Error::from(Outer(cause));
        assert_eq!(error.to_string(), "bad age: invalid digit found in string");
    }

    #[test]
    fn a_chosen_status_is_kept() {
        let error = Error::new(422, format_args!("{} is not an age", -1));
        assert_eq!(error.status(), 422);
        assert_eq!(error.message(), "-1 is not an age");
        assert_eq!(format!("{error:?}"), "-1 is not an age (status 422)");
    }
}
