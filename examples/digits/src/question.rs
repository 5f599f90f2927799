//! Detects the form of a request and reads its pictures.

use bulkhead_guest::Error;
use bulkhead_tensors::{AnyRequest, Tensor, onnx, tensorflow, torch};

use crate::{
    answer::{Form, OUTPUTS},
    input::{PIXELS, Pictures, check_all},
};

/// The name of the input, in forms where inputs have names.
pub const INPUT: &str = "images";
const SIDE: usize = 8;

/// Pictures, and the form of the answer.
#[derive(Debug, PartialEq)]
pub struct Question {
    pub pictures: Vec<Vec<f32>>,
    pub form: Form,
}

impl Question {
    /// Reads a request.
    ///
    /// A body is JSON if its content type says so or it begins with `{`. EAS's clients send every kind of tensor
    /// message as `application/octet-stream`; the kind is detected from the bytes.
    ///
    /// # Errors
    ///
    /// Status 400 if the body is neither, or a tensor in it is invalid or has another shape; 422 if a picture has wrong
    /// values.
    pub fn read(content_type: Option<&str>, body: &[u8]) -> Result<Self, Error> {
        // No tensor message begins with this byte: it would start a protobuf group, and no message has one.
        if content_type.is_some_and(is_json) || body.starts_with(b"{") {
            return Self::read_json(body);
        }
        match AnyRequest::decode(body) {
            Ok(AnyRequest::TensorFlow(request)) => Self::read_tensorflow(request),
            Ok(AnyRequest::Torch(request)) => Self::read_torch(&request),
            Ok(AnyRequest::Onnx(request)) => Self::read_onnx(&request),
            // Checked last: white space before the `{` could be the beginning of a tensor message.
            Err(bulkhead_tensors::Error::Unknown { .. }) if body.trim_ascii_start().starts_with(b"{") => {
                Self::read_json(body)
            }
            Err(bulkhead_tensors::Error::Unknown { .. }) if body.is_empty() => {
                Err(Error::new(400, "the body is empty; it should be JSON or a TensorFlow, Torch or ONNX request"))
            }
            Err(error @ bulkhead_tensors::Error::Unknown { .. }) => {
                Err(Error::new(400, format_args!("the body is not JSON, which begins with `{{`; {error}")))
            }
            Err(error) => Err(Error::new(400, error)),
        }
    }

    fn read_json(body: &[u8]) -> Result<Self, Error> {
        Ok(match Pictures::parse(body)? {
            Pictures::One(pixels) => Self { pictures: vec![pixels], form: Form::JsonObject },
            Pictures::Many(pictures) => Self { pictures, form: Form::JsonList },
        })
    }

    fn read_tensorflow(request: tensorflow::Request) -> Result<Self, Error> {
        let images = request.input(INPUT).map_err(|error| Error::new(400, error))?;
        let pictures = pictures(INPUT, images)?;
        for wanted in &request.output_filter {
            if !OUTPUTS.contains(&wanted.as_str()) {
                return Err(no_output(format_args!("{wanted:?}; there are {OUTPUTS:?}")));
            }
        }
        Ok(Self { pictures, form: Form::TensorFlow { outputs: request.output_filter } })
    }

    fn read_torch(request: &torch::Request) -> Result<Self, Error> {
        let (name, images) = match (request.inputs.as_slice(), request.map_inputs.first_key_value()) {
            ([images], None) => ("inputs[0]", images),
            ([], Some((name, images))) if request.map_inputs.len() == 1 && name == INPUT => (INPUT, images),
            ([], Some((name, _))) if request.map_inputs.len() == 1 => {
                return Err(Error::new(400, format!("there is no input {name:?}; there is {INPUT:?}")));
            }
            _ => return Err(Error::new(400, "there are several inputs, and the model has one")),
        };
        let pictures = pictures(name, images)?;
        let outputs = request.output_filter.iter().map(|wanted| {
            let index = usize::try_from(*wanted).ok().filter(|index| *index < OUTPUTS.len());
            index.ok_or_else(|| no_output(format_args!("{wanted}; there are 0, {}, and 1, {}", OUTPUTS[0], OUTPUTS[1])))
        });
        Ok(Self { pictures, form: Form::Torch { outputs: outputs.collect::<Result<_, Error>>()? } })
    }

    fn read_onnx(request: &onnx::Message) -> Result<Self, Error> {
        let images = request.tensor(INPUT).map_err(|error| Error::new(400, error))?;
        Ok(Self { pictures: pictures(INPUT, images)?, form: Form::Onnx })
    }
}

/// True for `application/json`, also with parameters, and for types that end in `+json`.
fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json") || kind.to_ascii_lowercase().ends_with("+json")
}

/// Reads one picture or many, of any numeric type, flat or square.
fn pictures(name: &str, images: &Tensor) -> Result<Vec<Vec<f32>>, Error> {
    let ([PIXELS] | [SIDE, SIDE] | [_, PIXELS] | [_, SIDE, SIDE] | [_, 1, SIDE, SIDE]) = images.shape() else {
        let forms = "it does not have the shape of pictures: [64], [8, 8], [n, 64], [n, 8, 8] or [n, 1, 8, 8]";
        return Err(Error::new(400, images.refuse(name, forms)));
    };
    let pixels = images.to_f32().map_err(|error| Error::new(400, error.of(name)))?;
    let pictures: Vec<_> = pixels.chunks(PIXELS).map(<[f32]>::to_vec).collect();
    check_all(name, &pictures)?;
    Ok(pictures)
}

fn no_output(which: std::fmt::Arguments<'_>) -> Error {
    Error::new(400, format_args!("there is no output {which}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(shape: &[usize]) -> Tensor {
        let count = shape.iter().product();
        Tensor::new(shape, (0..count).map(|index| (index % 17) as f32).collect()).unwrap()
    }

    fn read(body: &[u8]) -> Result<Question, Error> {
        Question::read(Some("application/octet-stream"), body)
    }

    fn refused(body: &[u8], status: u16) -> String {
        let error = read(body).unwrap_err();
        assert_eq!(error.status(), status, "{error}");
        error.message().to_owned()
    }

    #[test]
    fn each_form_is_known_by_its_bytes() {
        let rows = images(&[2, 64]);
        let tensorflow = tensorflow::Request::new("any").with_input(INPUT, rows.clone()).with_output("labels");
        let torch = torch::Request::default().with_input(rows.clone()).with_output(1).with_output(0);
        let onnx = onnx::Message::default().with(INPUT, rows.clone());
        let forms = [
            (tensorflow.encode().unwrap(), Form::TensorFlow { outputs: vec!["labels".to_owned()] }),
            (torch.encode().unwrap(), Form::Torch { outputs: vec![1, 0] }),
            (onnx.encode().unwrap(), Form::Onnx),
            (serde_json::to_vec(&serde_json::json!({ "rows": json_rows(&rows) })).unwrap(), Form::JsonList),
        ];
        for (body, form) in forms {
            assert_eq!(read(&body).unwrap(), Question { pictures: json_rows(&rows), form });
        }
    }

    fn json_rows(tensor: &Tensor) -> Vec<Vec<f32>> {
        tensor.elements::<f32>().unwrap().chunks(PIXELS).map(<[f32]>::to_vec).collect()
    }

    #[test]
    fn json_is_json_by_its_type_or_by_its_beginning() {
        let one = format!("{{\"pixels\": {:?}}}", [1; 64]);
        for content_type in [None, Some("application/octet-stream"), Some("Application/JSON; charset=utf-8")] {
            assert_eq!(Question::read(content_type, one.as_bytes()).unwrap().form, Form::JsonObject);
        }
        let indented = format!("\n {one}");
        assert_eq!(read(indented.as_bytes()).unwrap().form, Form::JsonObject);
        let torch = torch::Request::default().with_input(images(&[64])).encode().unwrap();
        let error = Question::read(Some("application/json"), &torch).unwrap_err();
        assert!(error.message().starts_with("not a picture: "), "the caller said that it is JSON: {error}");
    }

    #[test]
    fn pictures_are_flat_or_square_one_or_many_and_of_any_numbers() {
        for shape in [&[64][..], &[8, 8], &[3, 64], &[3, 8, 8], &[3, 1, 8, 8], &[0, 64]] {
            let pictures = pictures("x", &images(shape)).unwrap();
            assert_eq!(pictures.len() * PIXELS, shape.iter().product::<usize>(), "{shape:?}");
        }
        let bytes = Tensor::new(&[64], vec![16_u8; 64]).unwrap();
        assert_eq!(pictures("x", &bytes).unwrap(), [vec![16.0; 64]]);
    }

    #[test]
    fn what_is_wrong_with_a_tensor_is_told() {
        let with = |tensor: Tensor| torch::Request::default().with_input(tensor).encode().unwrap();
        assert_eq!(
            refused(&with(images(&[2, 63])), 400),
            "inputs[0]: it does not have the shape of pictures: [64], [8, 8], [n, 64], [n, 8, 8] or [n, 1, 8, 8]; its shape is [2, 63]"
        );
        let words = Tensor::new(&[64], vec![b"7".to_vec(); 64]).unwrap();
        assert_eq!(refused(&with(words), 400), "inputs[0]: its elements are bytes, not real numbers");
        let dark = Tensor::new(&[1, 64], vec![17_u8; 64]).unwrap();
        assert!(refused(&with(dark), 422).starts_with("inputs[0][0][0] is 17, not between 0 and 16; "));
        let both = torch::Request::default().with_input(images(&[64])).with_input(images(&[64]));
        assert_eq!(refused(&both.encode().unwrap(), 400), "there are several inputs, and the model has one");
    }

    /// Regression test: a name that was almost right used to be accepted.
    #[test]
    fn an_input_of_another_name_is_refused_with_both_names() {
        let tensorflow = tensorflow::Request::new("").with_input("imags", images(&[64])).encode().unwrap();
        assert_eq!(refused(&tensorflow, 400), "there is no input \"images\"; there is \"imags\"");
    }

    #[test]
    fn outputs_that_do_not_exist_are_refused() {
        let tensorflow = tensorflow::Request::new("").with_input(INPUT, images(&[64])).with_output("scores");
        assert_eq!(
            refused(&tensorflow.encode().unwrap(), 400),
            "there is no output \"scores\"; there are [\"probabilities\", \"labels\"]"
        );
        for index in [-1, 2] {
            let torch = torch::Request::default().with_input(images(&[64])).with_output(index);
            let message = refused(&torch.encode().unwrap(), 400);
            assert_eq!(message, format!("there is no output {index}; there are 0, probabilities, and 1, labels"));
        }
        let two = tensorflow::Request::new("").with_input("x", images(&[64])).with_input("y", images(&[64]));
        assert_eq!(refused(&two.encode().unwrap(), 400), "there is no input \"images\"; there are \"x\", \"y\"");
    }

    #[test]
    fn a_body_that_is_nothing_is_told_what_it_could_be() {
        assert!(refused(b"", 400).starts_with("the body is empty; it should be JSON or a TensorFlow"));
        let message = refused(b"seven", 400);
        for part in ["not JSON", "not a TensorFlow request", "a Torch request", "an ONNX request"] {
            assert!(message.contains(part), "{message}");
        }
    }
}
