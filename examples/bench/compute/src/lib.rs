//! Computing kernels for the bench: as a guest, and natively from the same source.
//!
//! A request's body names a kernel and the number of rounds: `matmul 20`. The answer is the time in nanoseconds by the
//! guest's own clock, which excludes network and call, and a checksum that must be the same on every platform.

mod kernels;

use bulkhead_guest::{Error, Model, Processor, Request, Response};

pub use kernels::{Kernel, Measured};

struct Compute;

impl Processor for Compute {
    fn initialize(_model: &Model) -> Result<Self, Error> {
        Ok(Self)
    }

    fn process(&mut self, request: Request) -> Result<Response, Error> {
        let order = std::str::from_utf8(&request.body)?;
        let measured =
            run(order).ok_or_else(|| Error::new(422, format_args!("`{order}` is not a kernel and a round count")))?;
        Ok(Response::text(measured.to_string()))
    }
}

bulkhead_guest::export!(Compute);

/// Runs `order`; returns `None` if it is not a kernel and a number of rounds.
pub fn run(order: &str) -> Option<Measured> {
    let (kernel, rounds) = order.split_once(' ')?;
    Some(Kernel::parse(kernel)?.measure(rounds.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_a_kernel_and_its_rounds() {
        let answer = Compute.process(Request::post("sha256 1")).unwrap();
        let text = String::from_utf8(answer.body).unwrap();
        let (nanos, checksum) = text.split_once(' ').unwrap();
        assert!(nanos.parse::<u64>().unwrap() > 0 && checksum.parse::<u64>().is_ok(), "{text}");
        for wrong in ["sha256", "md5 1", "json x", ""] {
            assert_eq!(Compute.process(Request::post(wrong)).unwrap_err().status(), 422, "{wrong}");
        }
    }
}
