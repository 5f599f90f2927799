//! The real input: handwritten digits that the training did not use, printed as the model sees them.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use bulkhead_artifacts::root;
use serde_json::{Value, json};

use crate::host::Host;
use crate::http::Connection;
use crate::services::Service;

/// The least accuracy. Below this, the model or its runtime is broken.
const LEAST_ACCURACY: f64 = 0.97;
const SIDE: usize = 8;
const PICTURES_PER_LINE: usize = 4;
const PICTURES: usize = 8;
/// The space between two pictures.
const GAP: &str = "   ";

struct Picture {
    pixels: Vec<u64>,
    truth: u64,
}

/// A picture and the service's answer.
struct Seen<'a> {
    picture: &'a Picture,
    label: u64,
    probability: f64,
}

/// Sends every held-out picture in its own request and prints some of them. Returns true if the accuracy is sufficient.
pub(super) fn show(host: &Host, service: &Service) -> Result<bool> {
    let pictures = held_out()?;
    let mut connection = Connection::open(host.data)?;
    let start = Instant::now();
    let seen =
        pictures.iter().map(|picture| recognise(&mut connection, service, picture)).collect::<Result<Vec<_>>>()?;
    let took = start.elapsed();

    let (right, wrong): (Vec<_>, Vec<_>) = seen.iter().partition(|seen| seen.is_right());
    // One wrong answer is shown, if there is any: only right ones would mislead.
    let mut shown: Vec<_> = right.iter().take(PICTURES - wrong.len().min(1)).copied().collect();
    shown.extend(wrong.first().copied());
    println!("\nDigits, as the service `{}` sees them and what it answers:\n", service.name);
    for line in shown.chunks(PICTURES_PER_LINE) {
        print(line);
    }
    let accuracy = right.len() as f64 / seen.len() as f64;
    println!(
        "{} of {} held-out digits recognised ({:.2} %), {} requests one after the other in {:.0} ms.\n",
        right.len(),
        seen.len(),
        accuracy * 100.0,
        seen.len(),
        took.as_secs_f64() * 1e3
    );
    Ok(accuracy >= LEAST_ACCURACY)
}

/// Returns a request body with the first picture.
pub(super) fn first_picture() -> Result<String> {
    Ok(held_out()?.first().context("there are no held-out digits")?.body())
}

fn held_out() -> Result<Vec<Picture>> {
    let file = root().join("examples/digits/data/heldout.jsonl");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let pictures = text.lines().map(|line| {
        let row: Value = serde_json::from_str(line)?;
        let pixels = row["pixels"].as_array().context("no pixels")?.iter().filter_map(Value::as_u64).collect();
        Ok(Picture { pixels, truth: row["label"].as_u64().context("no label")? })
    });
    pictures.collect::<Result<_>>().with_context(|| format!("{} is not as expected", file.display()))
}

fn recognise<'a>(connection: &mut Connection, service: &Service, picture: &'a Picture) -> Result<Seen<'a>> {
    connection.send(&service.request(picture.body().as_bytes()))?;
    let answer = connection.receive()?;
    let seen = || {
        let answer = answer.json()?;
        let label = answer["label"].as_u64()?;
        let probability = answer["probabilities"].get(usize::try_from(label).ok()?)?.as_f64()?;
        Some(Seen { picture, label, probability })
    };
    match (answer.status, seen()) {
        (200, Some(seen)) => Ok(seen),
        (status, _) => bail!("`{}` answered {status} to a digit: {}", service.name, answer.text()),
    }
}

impl Picture {
    fn body(&self) -> String {
        json!({ "pixels": self.pixels }).to_string()
    }

    fn row(&self, row: usize) -> String {
        let shade = |pixel: &u64| match pixel {
            0 => "  ",
            1..=4 => "░░",
            5..=8 => "▒▒",
            9..=12 => "▓▓",
            _ => "██",
        };
        self.pixels.iter().skip(row * SIDE).take(SIDE).map(shade).collect()
    }
}

impl Seen<'_> {
    fn is_right(&self) -> bool {
        self.label == self.picture.truth
    }

    fn caption(&self) -> String {
        let sure = self.probability * 100.0;
        match self.is_right() {
            true => format!("{} ({sure:.1} % sure)", self.label),
            false => format!("{}, but it is {}", self.label, self.picture.truth),
        }
    }
}

fn print(line: &[&Seen<'_>]) {
    for row in 0..SIDE {
        let pictures: Vec<String> = line.iter().map(|seen| seen.picture.row(row)).collect();
        println!("  {}", pictures.join(GAP).trim_end());
    }
    let captions: Vec<String> =
        line.iter().map(|seen| format!("{:<width$}", seen.caption(), width = 2 * SIDE)).collect();
    println!("  {}\n", captions.join(GAP).trim_end());
}
