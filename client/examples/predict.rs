//! Sends one request and prints the answer, or the error.
//!
//!     cargo run -p bulkhead-client --example predict -- http://127.0.0.1:8080 word-count TOKEN 'one two three'

use std::process::ExitCode;

use bulkhead_client::{Client, Error, RetryPolicy};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, service, token, text] = arguments.as_slice() else {
        eprintln!("usage: predict ENDPOINT SERVICE TOKEN TEXT");
        return ExitCode::from(2);
    };
    match predict(endpoint, service, token, text).await {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            if let Some(hint) = error.refused().and_then(|refused| refused.hint.as_deref()) {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn predict(endpoint: &str, service: &str, token: &str, text: &str) -> Result<String, Error> {
    let client = Client::builder(endpoint, service).token(token).retry(RetryPolicy::new(5)).build()?;
    client.predict_string(text).await
}
