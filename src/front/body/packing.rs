//! The packing of a request's body, and how it is undone for the processor.
//!
//! `Content-Encoding` states the compression. EAS's clients do not send it, so the service file can state it for them
//! (`metadata.rpc.decompressor`); the header takes precedence. `Content-MD5` is checked over the body as it was
//! received. An unpacked body has the same limit as a plain one.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use super::digest::{Claim, Hashed};
use super::offload::Offload;
use crate::call::Headers;
use crate::coding::{Coding, Effort, Fault, decode};
use crate::config::Decompressor;
use crate::quoted::Quoted;
use crate::refusal::{Reached, Refusal};

/// Most stacked codings accepted. More than one has no practical use.
const MAX_CODINGS: usize = 3;
/// Largest body that is unpacked on its network thread, and its largest output there: about half a millisecond of work.
const BRIEF_INPUT: usize = 64 << 10;
const BRIEF_OUTPUT: usize = 256 << 10;

/// The codings to undo and the hash to check.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::front) struct Packing {
    /// The codings in the order in which they were applied, filled from the front.
    codings: [Option<NamedCoding>; MAX_CODINGS],
    claim: Option<Claim>,
    /// True if `Content-Encoding` was sent, even as `identity`.
    is_told: bool,
}

/// A coding, and its name in the request or in the service file, for errors.
type NamedCoding = (&'static str, Coding);

/// The limits of unpacking.
#[derive(Clone, Copy)]
pub(in crate::front) struct Bounds {
    pub(in crate::front) bytes: usize,
    pub(in crate::front) deadline: Instant,
    pub(in crate::front) keepalive: Duration,
}

impl Packing {
    /// Reads the headers. Without `Content-Encoding`, the service's decompressor applies. `None` for a body that is not
    /// packed.
    pub(in crate::front) fn of(
        headers: &HeaderMap,
        decompressor: Option<Decompressor>,
    ) -> Result<Option<Self>, Refusal> {
        let claim = Claim::of(headers)?;
        let is_told = headers.contains_key(CONTENT_ENCODING);
        let codings = match is_told {
            true => listed(headers)?,
            false => [decompressor.map(Decompressor::named), None, None],
        };
        let is_plain = claim.is_none() && codings[0].is_none() && !is_told;
        Ok((!is_plain).then_some(Self { codings, claim, is_told }))
    }

    /// Unpacks the body for the processor, and adapts the headers.
    pub(in crate::front) async fn undo(
        self,
        body: Bytes,
        is_signed: bool,
        bounds: Bounds,
        headers: &mut Headers,
        offload: &Offload,
    ) -> Result<Bytes, Refusal> {
        let is_told = self.is_told;
        let briefly = (body.len() <= BRIEF_INPUT)
            .then(|| self.unpack(&body, is_signed, bounds.bytes, &Effort::brief(BRIEF_OUTPUT)))
            .flatten();
        let unpacked = match briefly {
            Some(unpacked) => unpacked,
            None => {
                let packed = body.clone();
                let work = move |effort: &Effort<'_>| self.unpack(&packed, is_signed, bounds.bytes, effort);
                let overdue = Refusal::DeadlineExceeded { limit: bounds.keepalive, reached: Reached::Body };
                offload.run(bounds.deadline, work).await.flatten().ok_or(overdue)?
            }
        };
        let Some(unpacked) = unpacked? else {
            // Nothing was decoded: the header named no coding, or the body came plain.
            match is_told {
                true if body.is_empty() => headers.unpacked(0),
                true => headers.withhold_encoding(),
                false => {}
            }
            return Ok(body);
        };
        headers.unpacked(unpacked.len());
        Ok(unpacked.into())
    }

    /// Checks and decodes the body. The outer `None` means that `effort` is not enough, the inner one that the body
    /// stays as it was sent.
    fn unpack(
        &self,
        body: &[u8],
        is_signed: bool,
        limit: usize,
        effort: &Effort<'_>,
    ) -> Option<Result<Option<Vec<u8>>, Refusal>> {
        // A client that signed the hash of the Snappy form sends the body plain, even if the service file names a
        // decompressor.
        let may_be_plain = match self.claim.map(|claim| claim.check(body, is_signed)) {
            Some(Err(refusal)) => return Some(Err(refusal)),
            Some(Ok(Hashed::ItsSnappy)) => return Some(Ok(None)),
            Some(Ok(Hashed::Unknown)) => !self.is_told,
            Some(Ok(Hashed::Body)) | None => false,
        };
        let mut unpacked: Option<Vec<u8>> = None;
        for (name, coding) in self.codings.iter().rev().flatten() {
            let packed = unpacked.as_deref().unwrap_or(body);
            // An empty body was not compressed.
            if packed.is_empty() {
                break;
            }
            match decode(*coding, packed, limit, effort) {
                Ok(plain) => unpacked = Some(plain),
                Err(Fault::TooLarge) => return Some(Err(Refusal::DecodedTooLarge { limit })),
                Err(Fault::Corrupt { .. }) if may_be_plain => return Some(Ok(None)),
                Err(Fault::Corrupt { at, why }) => {
                    let place = at.map(|at| format!(" at byte {at}")).unwrap_or_default();
                    return Some(Err(Refusal::BadBody(format!("the body is not valid {name}{place}: {why}").into())));
                }
                Err(Fault::Outgrown | Fault::Stopped) => return None,
            }
        }
        Some(Ok(unpacked))
    }
}

/// Reads the codings of `Content-Encoding`, whose values are one list (RFC 9110 §8.4). `identity` does not count.
fn listed(headers: &HeaderMap) -> Result<[Option<NamedCoding>; MAX_CODINGS], Refusal> {
    let mut codings = [None; MAX_CODINGS];
    let mut places = codings.iter_mut();
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    for name in names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity")) {
        let coding = Coding::known(name).ok_or_else(|| Refusal::CodingUnknown { given: Quoted(name).to_string() })?;
        *places.next().ok_or(Refusal::TooManyCodings { most: MAX_CODINGS })? = Some(coding);
    }
    Ok(codings)
}

impl Decompressor {
    /// Returns the coding, with its name in service files.
    const fn named(self) -> NamedCoding {
        match self {
            Self::Zlib => ("zlib", Coding::Deflate),
            Self::Gzip => ("gzip", Coding::Gzip),
            Self::Snappy => ("snappy", Coding::Snappy),
            Self::Zstd => ("zstd", Coding::Zstd),
            Self::Lz4 => ("lz4", Coding::Lz4),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn packing(values: &[&'static str], decompressor: Option<Decompressor>) -> Result<Option<Packing>, Refusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
        }
        Packing::of(&headers, decompressor)
    }

    fn codings(values: &[&'static str], decompressor: Option<Decompressor>) -> Vec<Coding> {
        let packing = packing(values, decompressor).unwrap();
        let codings = packing.map(|packing| packing.codings).unwrap_or_default();
        codings.into_iter().flatten().map(|(_, coding)| coding).collect()
    }

    #[test]
    fn a_request_speaks_for_itself_or_else_the_service_does() {
        let gzip = Some(Decompressor::Gzip);
        assert_eq!(packing(&[], None).unwrap(), None);
        assert_eq!(codings(&[], gzip), [Coding::Gzip]);
        assert_eq!(codings(&["zstd"], gzip), [Coding::Zstd]);
        assert_eq!(codings(&["identity"], gzip), []);
        assert_eq!(
            codings(&["GZIP, , deflate", "identity,x-snappy"], None),
            [Coding::Gzip, Coding::Deflate, Coding::Snappy]
        );
    }

    #[test]
    fn what_cannot_be_undone_is_refused_by_its_name() {
        let refusal = packing(&["gzip, br"], None).unwrap_err();
        assert_eq!(refusal.row().status, 415);
        assert!(refusal.detail().contains("\"br\""), "{}", refusal.detail());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_bytes(&[&b"\xe9\t\""[..], &[b'x'; 9000]].concat()).unwrap());
        let detail = Packing::of(&headers, None).unwrap_err().detail().into_owned();
        assert!(detail.starts_with(r#""\xe9\t\"xxx"#) && detail.len() < 300, "{detail}");
        assert_eq!(packing(&["gzip, gzip", "gzip, gzip"], None).unwrap_err().row().status, 415);
    }
}
