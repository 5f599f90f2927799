//! The contents of a guest's globals and memories, passed from the host to the compiling child in one file:
//!
//! ```text
//! name    u16 length, then the name under which the instrumented component exposes the value
//! kind    0 to 3 for i32, i64, f32, f64, followed by four or eight bytes; 4 for a memory:
//! length  u64, of the whole memory
//! runs    u64 offset, u32 length, bytes; a run of length 0 is the last
//! ```
//!
//! All integers are little-endian. The bytes between the runs of a memory are zero.

use std::collections::HashMap;
use std::io::{self, Read, Write};

/// The size of the blocks in which a memory is checked for zeroes.
const PAGE: usize = 4096;
const MEMORY: u8 = 4;

/// One value that an instrumented component exposes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    I32(i32),
    I64(i64),
    /// Floats are passed as their bits, so that nothing is rounded and no NaN is lost.
    F32(u32),
    F64(u64),
    Memory(Vec<u8>),
}

pub(super) fn write(to: &mut impl Write, name: &str, value: &Value) -> io::Result<()> {
    match value {
        Value::I32(value) => write_number(to, name, 0, &value.to_le_bytes()),
        Value::I64(value) => write_number(to, name, 1, &value.to_le_bytes()),
        Value::F32(bits) => write_number(to, name, 2, &bits.to_le_bytes()),
        Value::F64(bits) => write_number(to, name, 3, &bits.to_le_bytes()),
        Value::Memory(bytes) => write_memory(to, name, bytes),
    }
}

fn write_number(to: &mut impl Write, name: &str, kind: u8, bytes: &[u8]) -> io::Result<()> {
    write_head(to, name, kind)?;
    to.write_all(bytes)
}

pub(super) fn write_memory(to: &mut impl Write, name: &str, memory: &[u8]) -> io::Result<()> {
    write_head(to, name, MEMORY)?;
    to.write_all(&(memory.len() as u64).to_le_bytes())?;
    for (index, page) in memory.chunks(PAGE).enumerate().filter(|(_, page)| !is_zero(page)) {
        to.write_all(&((index * PAGE) as u64).to_le_bytes())?;
        to.write_all(&u32::try_from(page.len()).map_err(io::Error::other)?.to_le_bytes())?;
        to.write_all(page)?;
    }
    to.write_all(&[0; 12])
}

fn write_head(to: &mut impl Write, name: &str, kind: u8) -> io::Result<()> {
    to.write_all(&u16::try_from(name.len()).map_err(io::Error::other)?.to_le_bytes())?;
    to.write_all(name.as_bytes())?;
    to.write_all(&[kind])
}

/// Returns the number of bytes from the first byte of a memory that is not zero to the last one, in whole pages.
pub(super) fn span(memory: &[u8]) -> usize {
    let is_used = |page: &[u8]| !is_zero(page);
    let pages = memory.chunks(PAGE);
    let Some(first) = pages.clone().position(is_used) else { return 0 };
    let behind = pages.rev().position(is_used).unwrap_or_default();
    (memory.len().div_ceil(PAGE) - behind - first) * PAGE
}

fn is_zero(page: &[u8]) -> bool {
    page.iter().all(|byte| *byte == 0)
}

/// Reads all values of a state, by name.
pub(super) fn read(mut from: impl Read) -> io::Result<HashMap<String, Value>> {
    let mut values = HashMap::new();
    loop {
        let mut length = [0; 2];
        if from.read(&mut length[..1])? == 0 {
            return Ok(values);
        }
        from.read_exact(&mut length[1..])?;
        let mut name = vec![0; u16::from_le_bytes(length).into()];
        from.read_exact(&mut name)?;
        let name = String::from_utf8(name).map_err(io::Error::other)?;
        let [kind] = bytes(&mut from)?;
        let value = match kind {
            0 => Value::I32(i32::from_le_bytes(bytes(&mut from)?)),
            1 => Value::I64(i64::from_le_bytes(bytes(&mut from)?)),
            2 => Value::F32(u32::from_le_bytes(bytes(&mut from)?)),
            3 => Value::F64(u64::from_le_bytes(bytes(&mut from)?)),
            MEMORY => Value::Memory(read_memory(&mut from)?),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        values.insert(name, value);
    }
}

fn read_memory(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let length = usize::try_from(u64::from_le_bytes(bytes(from)?)).map_err(io::Error::other)?;
    let mut memory = vec![0; length];
    loop {
        let offset = u64::from_le_bytes(bytes(from)?);
        let run = u32::from_le_bytes(bytes(from)?);
        if run == 0 {
            return Ok(memory);
        }
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start.checked_add(run as usize).ok_or(io::ErrorKind::InvalidData)?;
        from.read_exact(memory.get_mut(start..end).ok_or(io::ErrorKind::InvalidData)?)?;
    }
}

fn bytes<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_zeroes_take_no_room() {
        let mut memory = vec![0; 100 * PAGE + 7];
        memory[5 * PAGE] = 1;
        memory[100 * PAGE + 6] = 2;
        let values = HashMap::from([
            ("a".to_owned(), Value::I32(-7)),
            ("b".to_owned(), Value::I64(i64::MIN)),
            ("c".to_owned(), Value::F32(0x7fc0_0001)),
            ("d".to_owned(), Value::F64(u64::MAX)),
            ("m".to_owned(), Value::Memory(memory)),
            ("empty".to_owned(), Value::Memory(Vec::new())),
        ]);
        let mut file = Vec::new();
        for (name, value) in &values {
            write(&mut file, name, value).unwrap();
        }
        assert!(file.len() < 3 * PAGE, "{}", file.len());
        assert_eq!(read(file.as_slice()).unwrap(), values);
        assert!(read(&file[..file.len() - 1]).is_err(), "half a file is no file");
    }

    #[test]
    fn a_span_reaches_from_the_first_page_in_use_to_the_last() {
        let mut memory = vec![0; 10 * PAGE];
        assert_eq!(span(&memory), 0);
        memory[4 * PAGE + 1] = 1;
        assert_eq!(span(&memory), PAGE);
        memory[8 * PAGE] = 1;
        assert_eq!(span(&memory), 5 * PAGE);
    }
}
