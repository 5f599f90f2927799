//! The description of a model, the answer of a tensor service to `GET`.

use serde::Serialize;

use crate::element::ElementType;

/// Inputs and outputs of a model, as EAS's TensorFlow processor describes them and `alipai`'s `TensorFlowSerializer` reads
/// them.
///
/// ```
/// use bulkhead_tensors::{ElementType, Signature};
///
/// let signature = Signature::new("serving_default")
///     .with_input("images", ElementType::F32, &[-1, 64])
///     .with_output("labels", ElementType::I64, &[-1]);
/// assert_eq!(
///     signature.answer("GET", b"").unwrap(),
///     r#"{"signature_name":"serving_default","inputs":[{"name":"images","shape":[-1,64],"type":"DT_FLOAT"}],"#.to_owned()
///         + r#""outputs":[{"name":"labels","shape":[-1],"type":"DT_INT64"}]}"#,
/// );
/// assert_eq!(signature.answer("POST", b"a request"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signature {
    signature_name: String,
    inputs: Vec<Described>,
    outputs: Vec<Described>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Described {
    name: String,
    shape: Vec<i64>,
    r#type: &'static str,
}

impl Signature {
    /// Makes a signature without inputs and outputs. Models with one signature call it `serving_default`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { signature_name: name.into(), inputs: Vec::new(), outputs: Vec::new() }
    }

    /// Adds an input. A dimension of -1 may have any size; the first dimension is that of the batch.
    #[must_use]
    pub fn with_input(mut self, name: impl Into<String>, elements: ElementType, shape: &[i64]) -> Self {
        self.inputs.push(Described::new(name.into(), elements, shape));
        self
    }

    /// Adds an output, like `with_input`.
    #[must_use]
    pub fn with_output(mut self, name: impl Into<String>, elements: ElementType, shape: &[i64]) -> Self {
        self.outputs.push(Described::new(name.into(), elements, shape));
        self
    }

    /// Returns the description as JSON if the request asks for it: `GET` or `HEAD` without a body. `None` for all other
    /// requests.
    #[must_use]
    pub fn answer(&self, method: &str, body: &[u8]) -> Option<String> {
        (matches!(method, "GET" | "HEAD") && body.is_empty()).then(|| self.to_json())
    }

    /// Returns the description as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings and numbers always convert to JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Described {
    fn new(name: String, elements: ElementType, shape: &[i64]) -> Self {
        Self { name, shape: shape.to_vec(), r#type: type_name(elements) }
    }
}

/// Returns TensorFlow's name of a type. Every type has one, even if no message of EAS can hold the type.
fn type_name(elements: ElementType) -> &'static str {
    match elements {
        ElementType::F32 => "DT_FLOAT",
        ElementType::F64 => "DT_DOUBLE",
        ElementType::F16 => "DT_HALF",
        ElementType::Bf16 => "DT_BFLOAT16",
        ElementType::I8 => "DT_INT8",
        ElementType::U8 => "DT_UINT8",
        ElementType::I16 => "DT_INT16",
        ElementType::U16 => "DT_UINT16",
        ElementType::I32 => "DT_INT32",
        ElementType::U32 => "DT_UINT32",
        ElementType::I64 => "DT_INT64",
        ElementType::U64 => "DT_UINT64",
        ElementType::Complex64 => "DT_COMPLEX64",
        ElementType::Complex128 => "DT_COMPLEX128",
        ElementType::Bool => "DT_BOOL",
        ElementType::Bytes => "DT_STRING",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::tensorflow::ArrayDataType;

    #[test]
    fn types_have_the_names_of_the_messages() {
        use ElementType::{Bf16, Bool, Bytes, Complex64, Complex128, F16, F32, F64, I8, I16, I32, I64, U8, U16};
        for elements in [F32, F64, F16, Bf16, I8, U8, I16, U16, I32, I64, Complex64, Complex128, Bool, Bytes] {
            let name = type_name(elements);
            assert!(ArrayDataType::from_str_name(name).is_some(), "{name}");
        }
    }

    #[test]
    fn names_are_escaped() {
        let json = Signature::new("a\"b").with_input("x\n", ElementType::Bytes, &[]).to_json();
        assert_eq!(
            json,
            r#"{"signature_name":"a\"b","inputs":[{"name":"x\n","shape":[],"type":"DT_STRING"}],"outputs":[]}"#
        );
    }

    #[test]
    fn it_answers_those_who_send_nothing() {
        let signature = Signature::new("");
        assert!(signature.answer("GET", b"").is_some() && signature.answer("HEAD", b"").is_some());
        for (method, body) in [("GET", &b"x"[..]), ("POST", b""), ("PUT", b"")] {
            assert_eq!(signature.answer(method, body), None, "{method}");
        }
    }
}
