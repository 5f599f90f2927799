//! Finds the end of an answer with little work, because the client shares the machine with the server.

use anyhow::{Result, bail};

/// The parts of a response head that the client needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// The length of head and body together.
    pub(super) length: usize,
}

impl Head {
    /// Parses the head at the start of `bytes`; `None` while it is incomplete.
    pub(super) fn find(bytes: &[u8]) -> Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let head = &bytes[..end];
        let Some(status) = head.get(9..12).and_then(number) else { bail!("an answer without a status") };
        let Some(body) = head.split(|byte| *byte == b'\n').find_map(content_length) else {
            bail!("an answer without content-length")
        };
        Ok(Some(Self { status: u16::try_from(status)?, length: end + 4 + body }))
    }
}

fn content_length(line: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let (name, value) = line.split_at_checked(NAME.len())?;
    if name.eq_ignore_ascii_case(NAME) { number(value.trim_ascii()) } else { None }
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let answer = b"HTTP/1.1 450 Queue Full\r\nx: y\r\nContent-Length:  12\r\n\r\nabc";
        assert_eq!(Head::find(answer).unwrap(), Some(Head { status: 450, length: answer.len() - 3 + 12 }));
        assert_eq!(Head::find(&answer[..40]).unwrap(), None);
        assert!(Head::find(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
