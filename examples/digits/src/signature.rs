//! The description of inputs and outputs, the answer to `GET`.

use bulkhead_tensors::{ElementType, Signature};

use crate::{
    answer::{DIGITS, OUTPUTS},
    input::PIXELS,
    question::INPUT,
};

/// Describes the tensors under the names that tensor requests use. The first dimension of each is the number of
/// pictures.
#[must_use]
pub fn signature() -> Signature {
    let [probabilities, labels] = OUTPUTS;
    Signature::new("serving_default")
        .with_input(INPUT, ElementType::F32, &[-1, PIXELS as i64])
        .with_output(probabilities, ElementType::F32, &[-1, DIGITS as i64])
        .with_output(labels, ElementType::I64, &[-1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_what_alipai_reads() {
        let described: serde_json::Value = serde_json::from_str(&signature().answer("GET", b"").unwrap()).unwrap();
        assert_eq!(
            described,
            serde_json::json!({
                "signature_name": "serving_default",
                "inputs": [{ "name": "images", "shape": [-1, 64], "type": "DT_FLOAT" }],
                "outputs": [
                    { "name": "probabilities", "shape": [-1, 10], "type": "DT_FLOAT" },
                    { "name": "labels", "shape": [-1], "type": "DT_INT64" },
                ],
            })
        );
    }
}
