use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

/// A picture that the training did not use.
#[derive(Deserialize)]
struct HeldOut {
    label: u64,
    pixels: Vec<f32>,
}

fn crate_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn model(entry: &str) -> Model {
    Model { dir: Some(crate_file("model")), entry: Some(entry.to_owned()), ..Model::default() }
}

fn held_out() -> Vec<HeldOut> {
    std::fs::read_to_string(crate_file("data/heldout.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn ask(digits: &mut Digits, body: &Value) -> Value {
    let response = digits.process(Request::post(body.to_string())).unwrap();
    serde_json::from_slice(&response.body).unwrap()
}

#[test]
fn held_out_rows_are_recognised() {
    let mut digits = Digits::initialize(&model("digits.onnx")).unwrap();
    let rows = held_out();
    let pictures: Vec<_> = rows.iter().map(|row| &row.pixels).collect();
    let answers = ask(&mut digits, &json!({ "rows": pictures }));
    let right =
        rows.iter().zip(answers.as_array().unwrap()).filter(|(row, answer)| answer["label"] == row.label).count();
    assert_eq!((right, rows.len()), (353, 360)); // train.py prints the same share: 0.9806
}

#[test]
fn a_guess_is_a_distribution_over_ten_digits() {
    let mut digits = Digits::initialize(&model("digits.onnx")).unwrap();
    let answer = ask(&mut digits, &json!({ "pixels": held_out()[0].pixels }));
    let probabilities = answer["probabilities"].as_array().unwrap();
    let sum: f64 = probabilities.iter().filter_map(Value::as_f64).sum();
    assert_eq!(probabilities.len(), 10);
    assert!((sum - 1.0).abs() < 1e-5);
}

#[test]
fn a_refusal_comes_from_the_input() {
    let mut digits = Digits::initialize(&model("digits.onnx")).unwrap();
    let error = digits.process(Request::post("{}")).unwrap_err();
    assert_eq!(error.status(), 422);
}

#[test]
fn a_missing_model_is_named() {
    let error = Digits::initialize(&model("absent.onnx")).err().unwrap();
    assert!(error.message().contains("absent.onnx"));
    let error = Digits::initialize(&Model::default()).err().unwrap();
    assert!(error.message().contains("model_entry"));
}

#[test]
fn tensors_get_the_same_answer_as_json() {
    use bulkhead_tensors::{Tensor, tensorflow, torch};

    let mut digits = Digits::initialize(&model("digits.onnx")).unwrap();
    let rows = held_out();
    let pictures: Vec<_> = rows.iter().take(5).map(|row| &row.pixels).collect();
    let answers = ask(&mut digits, &json!({ "rows": pictures }));
    let labels: Vec<i64> = answers.as_array().unwrap().iter().map(|answer| answer["label"].as_i64().unwrap()).collect();
    let images = Tensor::new(&[5, 64], pictures.into_iter().flatten().copied().collect()).unwrap();

    let request = tensorflow::Request::new("").with_input("images", images.clone()).encode().unwrap();
    let response = tensorflow::Response::decode(&digits.process(Request::post(request)).unwrap().body).unwrap();
    assert_eq!(response.output("labels").unwrap().elements::<i64>().unwrap(), labels);

    let request = torch::Request::default().with_input(images).with_output(1).encode().unwrap();
    let response = torch::Response::decode(&digits.process(Request::post(request)).unwrap().body).unwrap();
    assert_eq!(response.output(0).unwrap().elements::<i64>().unwrap(), labels);
}

#[test]
fn a_get_without_a_body_is_answered_with_the_description() {
    let mut digits = Digits::initialize(&model("digits.onnx")).unwrap();
    let response = digits.process(Request::get()).unwrap();
    assert_eq!(response.content_type.as_deref(), Some("application/json"));
    let described: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(described["inputs"][0], json!({ "name": "images", "shape": [-1, 64], "type": "DT_FLOAT" }));
    let error = digits.process(Request::post("")).unwrap_err();
    assert!(error.message().starts_with("the body is empty"), "a POST asks for digits: {error}");
}
