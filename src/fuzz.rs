//! Properties that hold for all input: of the request guard, the service file, and the filter of a processor's answers.
//!
//! Each function takes bytes and panics if its property does not hold. `fuzz/` calls the functions with coverage
//! feedback; the tests below call them with seeded mutations of good inputs, in every test run and on a stable
//! toolchain.

pub use crate::config::fuzz::service_file;
pub use crate::front::http1::fuzz::request_guard;
pub use crate::sandbox::fuzz::processor_answer;

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `property` with the seeds and with random edits of them, the same ones in every run.
    fn mutate(seeds: &[&[u8]], times: usize, property: fn(&[u8])) {
        let mut random = fastrand::Rng::with_seed(0xb01d_face);
        for seed in seeds {
            property(seed);
        }
        for _ in 0..times {
            let mut bytes = seeds[random.usize(..seeds.len())].to_vec();
            for _ in 0..random.usize(0..8) {
                let at = random.usize(..=bytes.len());
                match random.u8(..6) {
                    0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
                    1 if at < bytes.len() => drop(bytes.remove(at)),
                    2 => bytes.insert(at, *random.choice(b"\r\n\0 :;,\"{}[]09afPH\xff\x0b").unwrap_or(&0)),
                    3 => bytes.truncate(at),
                    4 => {
                        let from = random.usize(..=at);
                        let again = bytes[from..at].to_vec();
                        bytes.splice(at..at, again);
                    }
                    _ => {
                        let other = seeds[random.usize(..seeds.len())];
                        let from = random.usize(..=other.len());
                        bytes.splice(at..at, other[from..].iter().copied());
                    }
                }
            }
            property(&bytes);
        }
    }

    #[test]
    fn the_request_guard_under_mutation() {
        let seeds: [&[u8]; 6] = [
            b"\x03GET /api/predict/echo?x=y HTTP/1.1\r\nHost: a\r\nAuthorization: t\r\n\r\n",
            b"\x07POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nhost: a\r\n\r\n",
            b"\x01POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nt: v\r\n\r\nGET",
            b"\x02\r\nPOST http://a/x HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 010\r\n\r\n",
            b"\x05PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x04POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        ];
        mutate(&seeds, 60_000, request_guard);
    }

    #[test]
    fn the_service_file_under_mutation() {
        let seeds: [&[u8]; 4] = [
            include_bytes!("../examples/digits/digits.json"),
            include_bytes!("../examples/faults/faults.json"),
            br#"{"name":"a","processor_path":"a.wasm","metadata.rpc.keepalive":"100","token":"t","sandbox":{"fuel":"unlimited","allow_hosts":["a.example"],"expose":[]}}"#,
            br#"{"name":"a","processor_path":"https://a.example/a.wasm","processor_envs":[{"name":"A","value":"b"}],"metadata":{"instance":2,"rpc":{"batching":true}}}"#,
        ];
        mutate(&seeds, 2_000, service_file);
    }

    #[test]
    fn the_filter_of_answers_under_mutation() {
        let seeds: [&[u8]; 4] = [
            b"\xc8\x00\x0aContent-Type\0text/plain\0X-Mine\0kept\0Set-Cookie\0a=b\0Upgrade\0h2c\0",
            b"\x65\x00\x00Content-Length\x005\0Transfer-Encoding\0chunked\0Connection\0close\0Upgrade\0h2c\0",
            b"\xa6\x01\xffx\0a\r\nb: c\0: \0\0\0keep-alive\0timeout=1\0",
            b"\x00\x00\x40a\0b\0a\0b\0a\0b\0a\0b\0a\0b\0a\0b\0",
        ];
        mutate(&seeds, 60_000, processor_answer);
    }
}
