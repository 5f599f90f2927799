//! The form that a negative commit has as its body.

use super::parameters::{Kind, Parameters, Tagged, bad};
use super::refused::Refused;
use crate::queue::Reason;
use crate::quoted::Quoted;

/// Most bytes of the form. The caller applies it when it reads the body.
pub(crate) const LONGEST_FORM: usize = 64 * 1024;
/// The code of a negative commit that gives none.
pub(crate) const DEFAULT_CODE: &str = "Negative";
/// Most bytes of a code. Clients of EAS have the same limit.
const LONGEST_CODE: usize = 20;
/// Most bytes of a reason that are kept. The rest is cut off and not refused, since the delivery
/// has failed in any case.
const LONGEST_REASON: usize = 1024;

const FORM: &str = "application/x-www-form-urlencoded";
const NEGATIVE: Kind = Kind { name: "a negative commit", parameters: &["_code_", "_reason_"], tags: Tagged::No };

/// Reads the code and the reason of a negative commit. An empty body is accepted, since Java clients leave out an empty
/// code or reason. The code is [`DEFAULT_CODE`] then, and the reason is empty.
///
/// # Errors
/// Says which content type, parameter or code is accepted.
pub(crate) fn parse(content_type: Option<&[u8]>, body: &[u8]) -> Result<Reason, Refused> {
    if !body.is_empty() && !content_type.is_some_and(is_form) {
        let given = content_type.map_or("missing".to_owned(), |given| Quoted(given).to_string());
        return Err(bad(format!("the Content-Type of a negative commit is {given}; accepted is {FORM}")));
    }
    let text = std::str::from_utf8(body)
        .map_err(|_| bad("the body of a negative commit is not UTF-8; accepted is a percent-encoded form".into()))?;
    let form = Parameters::parse(text)?;
    form.check(&NEGATIVE)?;
    let code = form.text("_code_").filter(|code| !code.is_empty()).unwrap_or(DEFAULT_CODE);
    if !is_code(code) {
        return Err(bad(format!(
            "_code_ is {}; accepted are at most {LONGEST_CODE} characters, either digits or words such as Shutdown \
             or Disk.Full",
            Quoted(code)
        )));
    }
    let reason = form.text("_reason_").unwrap_or_default();
    Ok(Reason::new(code, &reason[..reason.floor_char_boundary(LONGEST_REASON)]))
}

fn is_form(content_type: &[u8]) -> bool {
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(FORM.as_bytes())
}

/// True for `^([A-Z][a-z]*)+(.[A-Z][a-z]*)?$|^[0-9]+$`, the rule of the Go client, in printable ASCII. In that rule,
/// `.` stands for any character.
fn is_code(code: &str) -> bool {
    let is_letters = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_words = |text: &str| text.starts_with(|c: char| c.is_ascii_uppercase()) && is_letters(text);
    let is_word = |text: &str| is_words(text) && !text[1..].contains(|c: char| c.is_ascii_uppercase());
    let is_two_parts = |code: &str| {
        let at = code.find(|c: char| !c.is_ascii_alphabetic());
        at.is_some_and(|at| is_words(&code[..at]) && is_word(&code[at + 1..]))
    };
    let is_number = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_digit());
    let is_printable = code.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    code.len() <= LONGEST_CODE && is_printable && (is_number || is_words(code) || is_two_parts(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: Option<&[u8]> = Some(FORM.as_bytes());

    fn refusal(content_type: Option<&[u8]>, body: &[u8]) -> String {
        parse(content_type, body).unwrap_err().to_string()
    }

    #[test]
    fn code_and_reason_come_from_the_form() {
        let long = format!("_reason_={}", "é".repeat(600));
        for (body, code, reason) in [
            // As the Go client sent it.
            ("_code_=Shutdown&_reason_=going+away", "Shutdown", "going away".to_owned()),
            ("_reason_=100%25&_code_=408", "408", "100%".to_owned()),
            ("_code_=&_reason_=", "Negative", String::new()),
            ("_reason_=x", "Negative", "x".to_owned()),
            ("", "Negative", String::new()),
            (&long, "Negative", "é".repeat(512)),
            (&format!("_reason_=a{}", "é".repeat(600)), "Negative", format!("a{}", "é".repeat(511))),
        ] {
            assert_eq!(parse(GIVEN, body.as_bytes()), Ok(Reason::new(code, reason)), "{body}");
        }
        let types = [&b"APPLICATION/x-www-form-urlencoded"[..], b"application/x-www-form-urlencoded ; charset=UTF-8"];
        for content_type in types {
            assert_eq!(parse(Some(content_type), b"_code_=7"), Ok(Reason::new("7", "")));
        }
        for content_type in [None, Some(&b"text/plain"[..])] {
            assert_eq!(parse(content_type, b""), Ok(Reason::new(DEFAULT_CODE, "")));
        }
    }

    #[test]
    fn a_code_is_digits_or_words() {
        for code in [
            "A",
            "Ab",
            "Shutdown",
            "OutOfMemory",
            "ABC",
            "Disk.Full",
            "Disk.F",
            "DiskOut.Full",
            "Disk Full",
            "Disk-Full",
            "A1B",
            "Ab~Cd",
            "0",
            "408",
            "01234567890123456789",
            "Abcdefghijklmnopqrst",
            DEFAULT_CODE,
            Reason::LEASE_EXPIRED,
            Reason::HOST_ENDED,
            Reason::EXPIRED,
            Reason::DAMAGED,
        ] {
            assert!(is_code(code), "{code}");
        }
        for code in [
            "",
            "a",
            "shutdown",
            "Disk.",
            "Disk.full",
            "Disk.FullUp",
            ".Full",
            "Disk..Full",
            "A.B.C",
            "4o8",
            "-1",
            "4.5",
            "A1",
            "Abé",
            "Ab\nCd",
            "Ab·Cd",
            "012345678901234567890",
            "Abcdefghijklmnopqrstu",
        ] {
            assert!(!is_code(code), "{code}");
        }
    }

    #[test]
    fn what_is_refused_is_named() {
        assert_eq!(
            refusal(None, b"_code_=7"),
            "the Content-Type of a negative commit is missing; accepted is application/x-www-form-urlencoded"
        );
        assert_eq!(
            refusal(Some(b"application/json"), b"{}"),
            "the Content-Type of a negative commit is \"application/json\"; accepted is \
             application/x-www-form-urlencoded"
        );
        assert_eq!(
            refusal(GIVEN, b"\xff"),
            "the body of a negative commit is not UTF-8; accepted is a percent-encoded form"
        );
        assert_eq!(
            refusal(GIVEN, b"_code_=out+of+memory"),
            "_code_ is \"out of memory\"; accepted are at most 20 characters, either digits or words such as Shutdown \
             or Disk.Full"
        );
        assert_eq!(
            refusal(GIVEN, b"_reasno_=x"),
            "a negative commit has no parameter \"_reasno_\"; did you mean _reason_?"
        );
        assert_eq!(
            refusal(GIVEN, b"code=7"),
            "\"code\" is a tag, and a negative commit has no tags; accepted is _code_, _reason_"
        );
        assert!(refusal(GIVEN, b"_code_=%zz").contains("is not percent-encoded UTF-8"));
        assert!(refusal(GIVEN, b"_code_=1&_code_=2").contains("is given as"));
    }
}
