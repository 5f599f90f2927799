use std::ops::Range;

use crate::options::View;

/// The side of a tile in pixels. Tiles at the right and at the bottom may be smaller.
const TILE: u32 = 64;
/// The format of a partial result, in its first byte.
const FORMAT: u8 = 1;

/// A picture whose tiles are rendered one by one, row by row from the top left.
#[derive(Debug)]
pub(crate) struct Picture {
    view: View,
    finished: u32,
    /// The pixels of the finished tiles, one tile after the other. A pixel is the number of a colour.
    pixels: Vec<u8>,
}

impl View {
    /// Returns the number of tiles.
    pub(crate) fn tiles(self) -> u32 {
        self.width.div_ceil(TILE) * self.height.div_ceil(TILE)
    }

    /// Returns the columns and the rows of a tile.
    fn tile(self, number: u32) -> (Range<u32>, Range<u32>) {
        let in_a_row = self.width.div_ceil(TILE);
        let (left, top) = (number % in_a_row * TILE, number / in_a_row * TILE);
        (left..self.width.min(left + TILE), top..self.height.min(top + TILE))
    }

    fn area(self, tile: u32) -> usize {
        let (columns, rows) = self.tile(tile);
        columns.len() * rows.len()
    }

    /// Returns the colour of a pixel: 0 for points of the set, 1 to 255 by the time in which the others escape.
    fn colour(self, x: u32, y: u32) -> u8 {
        // The set lies in a circle of radius 2; these are 3.2 by 2.4 of it, or more in the longer direction.
        let scale = (3.2 / f64::from(self.width)).max(2.4 / f64::from(self.height));
        let across = |at: u32, length: u32| (f64::from(at) + 0.5 - f64::from(length) / 2.0) * scale;
        let (real, imaginary) = (across(x, self.width) - 0.7, across(y, self.height));
        let (mut a, mut b) = (0.0_f64, 0.0_f64);
        for iteration in 0..self.iterations {
            if a * a + b * b > 4.0 {
                return (1 + iteration * 4 % 255) as u8;
            }
            (a, b) = (a * a - b * b + real, 2.0 * a * b + imaginary);
        }
        0
    }
}

impl Picture {
    pub(crate) fn new(view: View) -> Self {
        Self { view, finished: 0, pixels: Vec::new() }
    }

    /// Returns the number of finished tiles.
    pub(crate) fn finished(&self) -> u32 {
        self.finished
    }

    /// Renders the next tile.
    pub(crate) fn render_tile(&mut self) {
        let (columns, rows) = self.view.tile(self.finished);
        for y in rows {
            self.pixels.extend(columns.clone().map(|x| self.view.colour(x, y)));
        }
        self.finished += 1;
    }

    /// Encodes the finished tiles as a partial result.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let View { width, height, iterations } = self.view;
        let mut bytes = vec![FORMAT];
        bytes.extend([width, height, iterations, self.finished].into_iter().flat_map(u32::to_le_bytes));
        bytes.extend(&self.pixels);
        bytes
    }

    /// Decodes a partial result; `None` if it is not one of this picture.
    pub(crate) fn decode(view: View, bytes: &[u8]) -> Option<Self> {
        let (format, rest) = bytes.split_first()?;
        let (numbers, pixels) = rest.split_first_chunk::<16>()?;
        let mut numbers = numbers.chunks(4).filter_map(|number| Some(u32::from_le_bytes(number.try_into().ok()?)));
        let mut next = || numbers.next();
        let of = View { width: next()?, height: next()?, iterations: next()? };
        let finished = next()?;
        let is_of_this_picture = *format == FORMAT && of == view && finished <= view.tiles();
        let is_whole = || pixels.len() == (0..finished).map(|tile| view.area(tile)).sum::<usize>();
        (is_of_this_picture && is_whole()).then(|| Self { view, finished, pixels: pixels.to_vec() })
    }

    /// Returns the pixels row by row. Those of tiles that are not finished are 0.
    pub(crate) fn rows(&self) -> Vec<u8> {
        let width = self.view.width as usize;
        let mut rows = vec![0; width * self.view.height as usize];
        let mut pixels = self.pixels.as_slice();
        for tile in 0..self.finished {
            let (columns, lines) = self.view.tile(tile);
            for y in lines {
                let (line, rest) = pixels.split_at(columns.len());
                let start = y as usize * width + columns.start as usize;
                rows[start..start + line.len()].copy_from_slice(line);
                pixels = rest;
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: View = View { width: 130, height: 70, iterations: 100 };

    fn rendered(tiles: u32) -> Picture {
        let mut picture = Picture::new(VIEW);
        (0..tiles).for_each(|_| picture.render_tile());
        picture
    }

    #[test]
    fn every_pixel_is_in_one_tile() {
        assert_eq!(VIEW.tiles(), 6);
        let rows = rendered(6).rows();
        let expected: Vec<u8> = (0..70).flat_map(|y| (0..130).map(move |x| VIEW.colour(x, y))).collect();
        assert_eq!(rows, expected);
        assert!(rows.contains(&0) && rows.iter().any(|colour| *colour > 0));
    }

    #[test]
    fn a_partial_result_holds_the_finished_tiles() {
        let picture = rendered(4);
        let bytes = picture.encode();
        let mut decoded = Picture::decode(VIEW, &bytes).unwrap();
        assert_eq!((decoded.finished(), decoded.rows()), (4, picture.rows()));
        (4..6).for_each(|_| decoded.render_tile());
        assert_eq!(decoded.rows(), rendered(6).rows());
    }

    #[test]
    fn what_is_no_partial_result_of_this_picture_is_not_used() {
        let bytes = rendered(4).encode();
        assert!(Picture::decode(View { width: 131, ..VIEW }, &bytes).is_none());
        assert!(Picture::decode(VIEW, &bytes[..bytes.len() - 1]).is_none());
        assert!(Picture::decode(VIEW, &[]).is_none());
        let with = |at: usize, byte| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            bytes
        };
        assert!(Picture::decode(VIEW, &with(0, 2)).is_none(), "another format");
        assert!(Picture::decode(VIEW, &with(13, 7)).is_none(), "more tiles than there are");
    }
}
