//! Bodies as the official Python SDK (eas-prediction 0.36) sends them.

use bulkhead_tensors::{AnyRequest, Error, Tensor, onnx, tensorflow, torch};

/// `TFRequest("predict_images")` with `images`, [1, 4], float; requests the output `scores`.
const TENSORFLOW: &[u8] =
    b"\x0a\x0epredict_images\x12\x24\x0a\x06images\x12\x1a\x08\x01\x12\x04\x0a\x02\x01\x04\x1a\x10\
    \0\0\0\x3f\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\x1a\x06scores";
/// `TorchRequest()` with the same input; requests output 0.
const TORCH: &[u8] =
    b"\x0a\x1a\x08\x01\x12\x04\x0a\x02\x01\x04\x1a\x10\0\0\0\x3f\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\x12\x01\0";
/// `TorchRequest(flag=True)`: raw snappy, which the host decodes. A body this short is a length and one literal.
const TORCH_SNAPPY: &[u8] =
    b"\x1f\x78\x0a\x1a\x08\x01\x12\x04\x0a\x02\x01\x04\x1a\x10\0\0\0\x3f\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\x12\x01\0";

fn images() -> Tensor {
    Tensor::new(&[1, 4], vec![0.5_f32, 1.0, 2.0, 3.0]).unwrap()
}

fn the_tensorflow_request() -> tensorflow::Request {
    tensorflow::Request::new("predict_images").with_input("images", images()).with_output("scores")
}

fn the_torch_request() -> torch::Request {
    torch::Request::default().with_input(images()).with_output(0)
}

fn the_onnx_request() -> onnx::Message {
    onnx::Message::default().with("images", images())
}

#[test]
fn tf_request() {
    assert_eq!(tensorflow::Request::decode(TENSORFLOW).unwrap(), the_tensorflow_request());
    assert_eq!(the_tensorflow_request().encode().unwrap(), TENSORFLOW);
    assert!(the_tensorflow_request().wants("scores") && !the_tensorflow_request().wants("labels"));
    assert!(tensorflow::Request::new("").wants("labels"), "who asks for none gets all");
}

#[test]
fn torch_request() {
    assert_eq!(torch::Request::decode(TORCH).unwrap(), the_torch_request());
    assert_eq!(the_torch_request().encode().unwrap(), TORCH);
    assert_eq!(TORCH_SNAPPY[2..], *TORCH);
    assert!(the_torch_request().wants(0) && !the_torch_request().wants(1));
    assert!(torch::Request::default().wants(1), "who asks for none gets all");
}

#[test]
fn the_kind_is_found_out() {
    assert_eq!(AnyRequest::decode(TENSORFLOW), Ok(AnyRequest::TensorFlow(the_tensorflow_request())));
    assert_eq!(AnyRequest::decode(TORCH), Ok(AnyRequest::Torch(the_torch_request())));
    let onnx = the_onnx_request().encode().unwrap();
    assert_eq!(AnyRequest::decode(&onnx), Ok(AnyRequest::Onnx(the_onnx_request())));
}

/// The kind is detected even without the parts that only one kind of request has.
#[test]
fn the_kind_is_found_out_whatever_else_is_left_out() {
    let tensorflow = tensorflow::Request::new("").with_input("", images());
    assert_eq!(AnyRequest::decode(&tensorflow.clone().encode().unwrap()), Ok(AnyRequest::TensorFlow(tensorflow)));
    let torch = torch::Request::default().with_input(images());
    assert_eq!(AnyRequest::decode(&torch.clone().encode().unwrap()), Ok(AnyRequest::Torch(torch)));
    let torch = torch::Request::default().with_map_input("images", images()).with_output(1);
    assert_eq!(AnyRequest::decode(&torch.clone().encode().unwrap()), Ok(AnyRequest::Torch(torch)));
    let onnx = onnx::Message::default().with("", images());
    assert_eq!(AnyRequest::decode(&onnx.clone().encode().unwrap()), Ok(AnyRequest::Onnx(onnx)));
}

#[test]
fn the_reason_is_that_of_the_kind_it_is() {
    // The shape becomes [1, 5], but the tensor still has four elements.
    let mut wrong = TENSORFLOW.to_vec();
    let dims = wrong.windows(2).position(|bytes| bytes == [1, 4]).unwrap();
    wrong[dims + 1] = 5;
    let error = AnyRequest::decode(&wrong).unwrap_err();
    assert_eq!(error.to_string(), "inputs[\"images\"]: its shape [1, 5] has room for 5 elements, but it has 4");

    let mut wrong = TORCH.to_vec();
    let dims = wrong.windows(2).position(|bytes| bytes == [1, 4]).unwrap();
    wrong[dims + 1] = 3;
    let error = AnyRequest::decode(&wrong).unwrap_err();
    assert_eq!(error.to_string(), "inputs[0]: its shape [1, 3] has room for 3 elements, but it has 4");
}

#[test]
fn what_is_no_request_is_told_why() {
    let error = AnyRequest::decode(b"").unwrap_err();
    assert_eq!(
        error.to_string(),
        "this is not a TensorFlow request (it has no tensor), a Torch request (it has no tensor) or an ONNX request (it \
         has no tensor)"
    );
    for body in [&b"{\"pixels\": []}"[..], b"hello", TORCH_SNAPPY, &TORCH[..20], &TENSORFLOW[..30], &[0xff; 100]] {
        assert!(matches!(AnyRequest::decode(body), Err(Error::Unknown { .. })), "{body:?}");
    }
    let error = torch::Request::decode(TENSORFLOW).map(|_| ()).unwrap_err();
    assert!(error.to_string().starts_with("this is not a Torch request message: "), "{error}");
}

/// Any damaged body is refused, or is decoded to a request that can be encoded again.
#[test]
fn damaged_bodies_are_refused_or_in_order() {
    let said_again = |body: &[u8]| match AnyRequest::decode(body) {
        Ok(AnyRequest::TensorFlow(request)) => request.encode().ok(),
        Ok(AnyRequest::Torch(request)) => request.encode().ok(),
        Ok(AnyRequest::Onnx(request)) => request.encode().ok(),
        Err(_) => None,
    };
    let onnx = the_onnx_request().encode().unwrap();
    let (mut refused, mut in_order) = (0, 0);
    for body in [TENSORFLOW, TORCH, &onnx] {
        let flipped = (0..body.len() * 8).map(|bit| {
            let mut damaged = body.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            damaged
        });
        for damaged in flipped.chain((0..body.len()).map(|end| body[..end].to_vec())) {
            match said_again(&damaged) {
                Some(said) => {
                    assert_eq!(said_again(&said).as_ref(), Some(&said), "{damaged:?}");
                    in_order += 1;
                }
                None => refused += 1,
            }
        }
    }
    assert!(refused > 100 && in_order > 100, "{refused} and {in_order}: both ends are seen");
}

#[test]
fn answers_are_read_by_name_and_by_number() {
    let answer = tensorflow::Response::default().with_output("scores", images()).encode().unwrap();
    let answer = tensorflow::Response::decode(&answer).unwrap();
    assert_eq!(answer.output("scores").unwrap(), &images());
    assert_eq!(answer.output("label").unwrap_err().to_string(), "there is no output \"label\"; there is \"scores\"");

    let answer = torch::Response::default().with_output(images()).with_map_output("m", images()).encode().unwrap();
    let answer = torch::Response::decode(&answer).unwrap();
    assert_eq!((answer.output(0).unwrap(), &answer.map_outputs["m"]), (&images(), &images()));
    assert_eq!(answer.output(1).unwrap_err().to_string(), "there is no outputs[1]; there is outputs[0]");
}
