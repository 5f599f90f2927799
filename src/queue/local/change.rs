//! A change of one row, as it stands in the log.

/// A change of one row. Its bytes are the number of the table, the length of the key, the key, the length of the value,
/// and the value. A removal has [`REMOVED`] for a length, and no value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change<'a> {
    pub(super) table: u8,
    pub(super) key: &'a [u8],
    pub(super) value: Option<&'a [u8]>,
}

/// No value is as long as this.
const REMOVED: u32 = u32::MAX;
const LENGTH: usize = size_of::<u32>();

impl<'a> Change<'a> {
    /// Adds it to the changes.
    pub(super) fn note(&self, changes: &mut Vec<u8>) {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("redb refuses longer keys and values");
        changes.push(self.table);
        changes.extend_from_slice(&length(self.key).to_le_bytes());
        changes.extend_from_slice(self.key);
        changes.extend_from_slice(&self.value.map_or(REMOVED, length).to_le_bytes());
        changes.extend_from_slice(self.value.unwrap_or_default());
    }

    /// Reads the first of some changes, and returns the bytes of the others with it; `None` if it cannot be read.
    pub(super) fn first(changes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (table, rest) = changes.split_first()?;
        let (length, rest) = rest.split_first_chunk::<LENGTH>()?;
        let (key, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let (length, rest) = rest.split_first_chunk::<LENGTH>()?;
        let (value, rest) = match u32::from_le_bytes(*length) {
            REMOVED => (None, rest),
            length => {
                let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                (Some(value), rest)
            }
        };
        Some((Change { table: *table, key, value }, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_as_they_were_noted_and_cut_ones_are_not() {
        let noted = [
            Change { table: 3, key: b"key", value: Some(b"value") },
            Change { table: 0, key: b"", value: Some(b"") },
            Change { table: 8, key: b"\0\xff", value: None },
        ];
        let mut bytes = Vec::new();
        noted.iter().for_each(|change| change.note(&mut bytes));
        let mut rest = &*bytes;
        for change in noted {
            let first = Change::first(rest).unwrap();
            assert_eq!(first.0, change);
            let length = rest.len() - first.1.len();
            for cut in 0..length {
                assert_eq!(Change::first(&rest[..cut]), None, "{change:?} cut to {cut} bytes");
            }
            rest = first.1;
        }
        assert!(rest.is_empty());
    }
}
