//! Three kinds of work: loops over floats, over bits, and branches over text.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// A product of two square matrices of floats.
    Matmul,
    /// The SHA-256 of a mebibyte.
    Sha256,
    /// Parses a document and writes it again.
    Json,
}

/// The duration of all rounds, and the checksum of the last one.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub took: Duration,
    pub checksum: u64,
}

const SIDE: usize = 192;
const HASHED: usize = 1 << 20;
const RECORDS: u32 = 1000;

impl Kernel {
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "matmul" => Some(Self::Matmul),
            "sha256" => Some(Self::Sha256),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// Runs the kernel and measures it. The input is made before the clock starts.
    pub fn measure(self, rounds: u32) -> Measured {
        match self {
            Self::Matmul => {
                let (a, b) = (matrix(3), matrix(5));
                let mut c = vec![0.0; SIDE * SIDE];
                time(rounds, || {
                    multiply(black_box(&a), black_box(&b), &mut c);
                    c.iter().map(|sum| f64::from(*sum)).sum::<f64>().to_bits()
                })
            }
            Self::Sha256 => {
                let bytes: Vec<u8> = (0..HASHED).map(|index| (index * 7 % 251) as u8).collect();
                time(rounds, || {
                    let hash = Sha256::digest(black_box(&bytes));
                    hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
                })
            }
            Self::Json => {
                let text = document().to_string();
                time(rounds, || {
                    let value: Value = serde_json::from_str(black_box(&text)).unwrap_or_default();
                    black_box(value.to_string()).len() as u64
                })
            }
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.took.as_nanos(), self.checksum)
    }
}

fn time(rounds: u32, mut round: impl FnMut() -> u64) -> Measured {
    let start = Instant::now();
    let mut checksum = 0;
    for _ in 0..rounds {
        checksum = black_box(round());
    }
    Measured { took: start.elapsed(), checksum }
}

/// Makes a matrix of small whole numbers, so that sums are exact in any order.
fn matrix(seed: usize) -> Vec<f32> {
    (0..SIDE * SIDE).map(|index| (index * seed % 17) as f32).collect()
}

fn multiply(a: &[f32], b: &[f32], c: &mut [f32]) {
    c.fill(0.0);
    for (row, of_a) in c.chunks_exact_mut(SIDE).zip(a.chunks_exact(SIDE)) {
        for (factor, of_b) in of_a.iter().zip(b.chunks_exact(SIDE)) {
            for (sum, element) in row.iter_mut().zip(of_b) {
                *sum += factor * element;
            }
        }
    }
}

fn document() -> Value {
    let record = |id: u32| {
        json!({
            "id": id,
            "name": format!("record {id}"),
            "score": f64::from(id) / 7.0,
            "tags": ["alpha", "beta", "\u{3b3}"],
            "active": id.is_multiple_of(3),
            "parent": null,
        })
    };
    (0..RECORDS).map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_is_a_product() {
        let identity: Vec<f32> = (0..SIDE * SIDE).map(|at| if at / SIDE == at % SIDE { 1.0 } else { 0.0 }).collect();
        let (a, mut c) = (matrix(3), vec![1.0; SIDE * SIDE]);
        multiply(&a, &identity, &mut c);
        assert_eq!(a, c);
    }

    #[test]
    fn every_kernel_comes_to_the_same_each_time() {
        for kernel in [Kernel::Matmul, Kernel::Sha256, Kernel::Json] {
            let (once, twice) = (kernel.measure(1), kernel.measure(2));
            assert_eq!(once.checksum, twice.checksum, "{kernel:?}");
            assert_ne!(once.checksum, 0, "{kernel:?}");
        }
    }
}
