//! Builds a table of 50 MiB at its start, like a processor with a large model. Answers from the table, or aborts its
//! instance if the body is `abort`.

use bulkhead_guest::{Error, Model, Processor, Request, Response};

const BYTES: usize = 50 << 20;

struct Large {
    table: Vec<u64>,
}

impl Processor for Large {
    fn initialize(_model: &Model) -> Result<Self, Error> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        Ok(Self { table: (0..BYTES / size_of::<u64>()).map(|_| next()).collect() })
    }

    fn process(&mut self, request: Request) -> Result<Response, Error> {
        if request.body == b"abort" {
            std::process::abort();
        }
        let at =
            request.body.iter().fold(7, |hash: usize, byte| hash.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        Ok(Response::text(self.table[at % self.table.len()].to_string()))
    }
}

bulkhead_guest::export!(Large);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_from_the_table() {
        let mut large = Large::initialize(&Model::default()).unwrap();
        assert_eq!(large.table.len() * 8, BYTES);
        let one = large.process(Request::post("a")).unwrap().body;
        assert_ne!(one, large.process(Request::post("b")).unwrap().body);
    }
}
