//! PNG files (RFC 2083) with 256 colours and without compression, which is a page of code.

/// Most bytes of a block of Deflate that is not compressed (RFC 1951 §3.2.4).
const BLOCK: usize = 0xffff;

/// Encodes a picture. `pixels` has the numbers of colours, row by row.
pub(crate) fn encode(width: u32, height: u32, pixels: &[u8]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let [depth, with_palette, deflate, filter, interlace] = [8, 3, 0, 0, 0];
    let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
    chunk(&mut file, b"IHDR", &[&sides[..], &[depth, with_palette, deflate, filter, interlace]].concat());
    chunk(&mut file, b"PLTE", &(0..=255).flat_map(colour).collect::<Vec<u8>>());
    // Each row begins with the number of its filter; 0 is none.
    let rows: Vec<u8> = pixels.chunks(width as usize).flat_map(|row| [&[0], row].concat()).collect();
    chunk(&mut file, b"IDAT", &zlib(&rows));
    chunk(&mut file, b"IEND", &[]);
    file
}

/// Returns red, green and blue: black for 0, and else from blue over yellow to black.
fn colour(number: u8) -> [u8; 3] {
    let (t, s) = (f64::from(number) / 255.0, 1.0 - f64::from(number) / 255.0);
    [9.0 * s * t * t * t, 15.0 * s * s * t * t, 8.5 * s * s * s * t].map(|part| (part * 255.0) as u8)
}

fn chunk(file: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) {
    file.extend((content.len() as u32).to_be_bytes());
    let start = file.len();
    file.extend(name);
    file.extend(content);
    file.extend(crc(&file[start..]).to_be_bytes());
}

/// Wraps bytes for zlib (RFC 1950).
fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let last = bytes.len().div_ceil(BLOCK).saturating_sub(1);
    for (number, block) in bytes.chunks(BLOCK).enumerate() {
        let length = block.len() as u16;
        stream.push((number == last).into());
        stream.extend([length.to_le_bytes(), (!length).to_le_bytes()].concat());
        stream.extend(block);
    }
    stream.extend(adler(bytes).to_be_bytes());
    stream
}

/// Returns the checksum of a chunk.
fn crc(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let (mut value, mut bit) = (index as u32, 0);
            while bit < 8 {
                value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

/// Returns the checksum of a zlib stream.
fn adler(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65521;
        (a, (b + a) % 65521)
    });
    b << 16 | a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standards() {
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc(b"IEND"), 0xae42_6082);
        assert_eq!(adler(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn a_file_has_its_chunks_and_all_pixels() {
        let file = encode(2, 2, &[0, 1, 2, 3]);
        assert!(file.starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x02\0\0\0\x02\x08\x03\0\0\0"));
        assert!(file.ends_with(b"\0\0\0\0IEND\xae\x42\x60\x82"));
        let data = [&[0x78, 1, 1, 6, 0, 0xf9, 0xff], &[0, 0, 1, 0, 2, 3][..]].concat();
        assert!(file.windows(data.len()).any(|bytes| bytes == data));
    }

    #[test]
    fn a_large_picture_has_several_blocks() {
        let stream = zlib(&vec![7; 2 * BLOCK + 1]);
        assert_eq!(stream.len(), 2 + 3 * 5 + 2 * BLOCK + 1 + 4);
        assert_eq!((stream[2], stream[2 + 5 + BLOCK], stream[2 + 2 * (5 + BLOCK)]), (0, 0, 1));
    }
}
