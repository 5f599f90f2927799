//! The kernels and the digits model, natively. The bench compares them with the same code in the sandbox.
//!
//! `native matmul 20` runs a kernel. `native digits MODEL BODY ROUNDS` answers the request in the file `BODY` `ROUNDS`
//! times.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use bulkhead_guest::{Error, Model, Processor, Request};
use compute::Measured;
use digits::Digits;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let measured = match words[..] {
        ["digits", model, body, rounds] => {
            digits(Path::new(model), body, rounds).map_err(|error| error.message().to_owned())
        }
        _ => compute::run(&args.join(" ")).ok_or_else(|| "expected a kernel and a round count".to_owned()),
    };
    match measured {
        Ok(measured) => {
            println!("{measured}");
            ExitCode::SUCCESS
        }
        Err(mistake) => {
            eprintln!("error: {mistake}");
            ExitCode::FAILURE
        }
    }
}

fn digits(model: &Path, body: &str, rounds: &str) -> Result<Measured, Error> {
    let entry = model.file_name().map(|name| name.to_string_lossy().into_owned());
    let model = Model { dir: model.parent().map(Path::to_owned), entry, ..Model::default() };
    let (mut digits, body) = (Digits::initialize(&model)?, fs::read(body)?);
    let requests: Vec<Request> = (0..rounds.parse::<u32>()?).map(|_| Request::post(body.clone())).collect();
    let mut checksum = 0;
    let start = Instant::now();
    for request in requests {
        checksum = digits.process(request)?.body.len() as u64;
    }
    Ok(Measured { took: start.elapsed(), checksum })
}
