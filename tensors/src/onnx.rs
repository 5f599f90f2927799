//! Messages of EAS's ONNX processor (HIE): named tensors in order, their elements as raw bytes.

use half::{bf16, f16};
use prost::Message as _;

use crate::element::Data;
use crate::error::{Error, TensorError};
use crate::proto::onnx::tensor_proto::DataType;
use crate::proto::onnx::{DataProto, TensorProto};
use crate::tensor::Tensor;

const ONNX: &str = "ONNX";

/// A message that `OnnxRequest` of the SDKs sends and `OnnxResponse` reads: the same in both directions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// Names may repeat, and may be empty.
    pub tensors: Vec<(String, Tensor)>,
}

impl Message {
    /// Adds the next tensor.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, tensor: Tensor) -> Self {
        self.tensors.push((name.into(), tensor));
        self
    }

    /// Returns the first tensor of this name.
    ///
    /// # Errors
    /// If there is none. The error lists the names that exist.
    pub fn tensor(&self, name: &str) -> Result<&Tensor, Error> {
        let missing = || Error::Missing {
            what: format!("tensor {name:?}"),
            there: self.tensors.iter().map(|(name, _)| format!("{name:?}")).collect(),
        };
        self.tensors.iter().find(|(known, _)| known == name).map(|(_, tensor)| tensor).ok_or_else(missing)
    }

    /// Decodes a message.
    ///
    /// # Errors
    /// If the bytes are not such a message, or a tensor in it is invalid.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let message = DataProto::decode(body).map_err(|cause| Error::malformed(ONNX, &cause))?;
        Self::of_message(message)
    }

    pub(crate) fn of_message(message: DataProto) -> Result<Self, Error> {
        let tensors = message.tensors.into_iter().enumerate().map(|(index, tensor)| {
            let name = tensor.name.clone();
            match read(tensor) {
                Ok(tensor) => Ok((name, tensor)),
                Err(error) if name.is_empty() => Err(error.of(format!("tensors[{index}]"))),
                Err(error) => Err(error.of(format!("tensors[{index}] {name:?}"))),
            }
        });
        Ok(Self { tensors: tensors.collect::<Result<_, Error>>()? })
    }

    /// Encodes the message.
    ///
    /// # Errors
    /// If a tensor holds strings, which `raw_data` cannot hold.
    pub fn encode(self) -> Result<Vec<u8>, Error> {
        let tensors = self.tensors.into_iter().map(|(name, tensor)| match write(&tensor) {
            Ok((data_type, raw_data)) => {
                let (dims, _) = tensor.into_parts();
                Ok(TensorProto { name, dims, data_type: data_type.into(), raw_data })
            }
            Err(error) => Err(error.of(format!("tensor {name:?}"))),
        });
        Ok(DataProto { tensors: tensors.collect::<Result<_, Error>>()? }.encode_to_vec())
    }
}

/// True if the number stands for a type, supported or not.
pub(crate) fn is_type(number: i32) -> bool {
    DataType::try_from(number).is_ok_and(|known| known != DataType::Undefined)
}

fn read(tensor: TensorProto) -> Result<Tensor, TensorError> {
    let number = tensor.data_type;
    let data_type = DataType::try_from(number).map_err(|_| TensorError::UnknownType { number })?;
    let (name, raw) = (data_type.as_str_name(), tensor.raw_data);
    let data = match data_type {
        DataType::Undefined => return Err(TensorError::NoType),
        DataType::String => return Err(TensorError::UnsupportedType { name: name.to_owned(), message: ONNX }),
        DataType::Float16 => Data::F16(numbers(&raw, f16::from_le_bytes, name)?),
        DataType::Bfloat16 => Data::Bf16(numbers(&raw, bf16::from_le_bytes, name)?),
        DataType::Complex64 => {
            let part = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
            Data::Complex64(numbers(&raw, |bytes: [u8; 8]| halves(&bytes).map(part), name)?)
        }
        DataType::Complex128 => {
            let part = |bytes: &[u8; 8]| f64::from_le_bytes(*bytes);
            Data::Complex128(numbers(&raw, |bytes: [u8; 16]| halves(&bytes).map(part), name)?)
        }
        DataType::Bool => Data::Bool(truths(&raw, name)?),
        DataType::Float => Data::F32(numbers(&raw, f32::from_le_bytes, name)?),
        DataType::Double => Data::F64(numbers(&raw, f64::from_le_bytes, name)?),
        DataType::Int8 => Data::I8(numbers(&raw, i8::from_le_bytes, name)?),
        DataType::Uint8 => Data::U8(raw),
        DataType::Int16 => Data::I16(numbers(&raw, i16::from_le_bytes, name)?),
        DataType::Uint16 => Data::U16(numbers(&raw, u16::from_le_bytes, name)?),
        DataType::Int32 => Data::I32(numbers(&raw, i32::from_le_bytes, name)?),
        DataType::Uint32 => Data::U32(numbers(&raw, u32::from_le_bytes, name)?),
        DataType::Int64 => Data::I64(numbers(&raw, i64::from_le_bytes, name)?),
        DataType::Uint64 => Data::U64(numbers(&raw, u64::from_le_bytes, name)?),
    };
    Tensor::of_wire(tensor.dims, data)
}

fn numbers<T, const SIZE: usize>(
    raw: &[u8],
    number: impl Fn([u8; SIZE]) -> T,
    type_name: &'static str,
) -> Result<Vec<T>, TensorError> {
    match raw.as_chunks() {
        (chunks, []) => Ok(chunks.iter().map(|chunk| number(*chunk)).collect()),
        _ => Err(TensorError::Ragged { type_name, size: SIZE, bytes: raw.len() }),
    }
}

/// Splits the bytes of a complex number into its two parts.
fn halves<const HALF: usize>(bytes: &[u8]) -> [&[u8; HALF]; 2] {
    let (chunks, _) = bytes.as_chunks();
    [&chunks[0], &chunks[1]]
}

/// Reads booleans of one byte each, 0 or 1.
fn truths(raw: &[u8], type_name: &'static str) -> Result<Vec<bool>, TensorError> {
    let truths = raw.iter().enumerate().map(|(index, byte)| match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(TensorError::OutOfRange { type_name, index, value: f64::from(*other) }),
    });
    truths.collect()
}

fn write(tensor: &Tensor) -> Result<(DataType, Vec<u8>), TensorError> {
    Ok(match tensor.data() {
        Data::F32(numbers) => (DataType::Float, numbers.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Data::F64(numbers) => (DataType::Double, numbers.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Data::I8(numbers) => (DataType::Int8, numbers.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Data::U8(numbers) => (DataType::Uint8, numbers.clone()),
        Data::I16(numbers) => (DataType::Int16, numbers.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Data::U16(numbers) => (DataType::Uint16, numbers.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Data::I32(numbers) => (DataType::Int32, numbers.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Data::U32(numbers) => (DataType::Uint32, numbers.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Data::I64(numbers) => (DataType::Int64, numbers.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Data::U64(numbers) => (DataType::Uint64, numbers.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Data::F16(numbers) => (DataType::Float16, numbers.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Data::Bf16(numbers) => (DataType::Bfloat16, numbers.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Data::Complex64(pairs) => {
            (DataType::Complex64, pairs.as_flattened().iter().flat_map(|x| x.to_le_bytes()).collect())
        }
        Data::Complex128(pairs) => {
            (DataType::Complex128, pairs.as_flattened().iter().flat_map(|x| x.to_le_bytes()).collect())
        }
        Data::Bool(truths) => (DataType::Bool, truths.iter().map(|truth| u8::from(*truth)).collect()),
        Data::Bytes(_) => {
            let name = tensor.element_type().to_string();
            return Err(TensorError::UnsupportedType { name, message: ONNX });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(data_type: DataType, dims: &[i64], bytes: usize) -> TensorProto {
        TensorProto { name: "x".to_owned(), dims: dims.to_vec(), data_type: data_type.into(), raw_data: vec![0; bytes] }
    }

    fn refused(tensor: TensorProto) -> String {
        Message::of_message(DataProto { tensors: vec![tensor] }).unwrap_err().to_string()
    }

    #[test]
    fn every_type_that_can_be_sent_comes_back() {
        let message = Message::default()
            .with("a", Tensor::vector(vec![0.5_f32, f32::MIN]))
            .with("b", Tensor::vector(vec![0.5_f64, f64::MAX]))
            .with("c", Tensor::vector(vec![i8::MIN, i8::MAX]))
            .with("d", Tensor::vector(vec![0, u8::MAX]))
            .with("e", Tensor::vector(vec![i16::MIN, i16::MAX]))
            .with("f", Tensor::vector(vec![0, u16::MAX]))
            .with("g", Tensor::vector(vec![i32::MIN, i32::MAX]))
            .with("h", Tensor::vector(vec![0, u32::MAX]))
            .with("i", Tensor::vector(vec![i64::MIN, i64::MAX]))
            .with("j", Tensor::vector(vec![0, u64::MAX]))
            .with("k", Tensor::vector(vec![f16::from_f32(0.5), f16::MIN, f16::NEG_INFINITY]))
            .with("l", Tensor::vector(vec![bf16::from_f32(0.5), bf16::MAX]))
            .with("m", Tensor::vector(vec![[0.5_f32, -1.0], [f32::MIN, 0.0]]))
            .with("n", Tensor::vector(vec![[0.5_f64, -1.0], [f64::MIN, 0.0]]))
            .with("o", Tensor::vector(vec![true, false]))
            .with("", Tensor::new(&[0, 3], Vec::<f32>::new()).unwrap());
        assert_eq!(Message::decode(&message.clone().encode().unwrap()), Ok(message));
        let words = Message::default().with("t", Tensor::scalar(b"a".to_vec())).encode().unwrap_err();
        assert_eq!(words.to_string(), "tensor \"t\": ONNX messages cannot hold bytes");
    }

    /// Bytes as written by `numpy.float16`, `ml_dtypes.bfloat16`, `numpy.complex64` and `numpy.bool_`.
    #[test]
    fn raw_bytes_are_read_as_numpy_writes_them() {
        let of = |data_type: DataType, raw: &[u8]| {
            let tensor = TensorProto { raw_data: raw.to_vec(), ..tensor(data_type, &[2], 0) };
            read(tensor).unwrap()
        };
        assert_eq!(*of(DataType::Float16, b"\x00\x38\x00\xc0").to_f32().unwrap(), [0.5, -2.0]);
        assert_eq!(*of(DataType::Bfloat16, b"\x00\x3f\x00\xc0").to_f32().unwrap(), [0.5, -2.0]);
        let complex = of(DataType::Complex64, b"\0\0\x80\x3f\0\0\0\xc0\0\0\0\0\0\0\0\x3f");
        assert_eq!(complex.elements::<[f32; 2]>().unwrap(), [[1.0, -2.0], [0.0, 0.5]]);
        assert_eq!(of(DataType::Bool, b"\x01\x00").elements::<bool>().unwrap(), [true, false]);
    }

    #[test]
    fn bytes_that_do_not_match_the_shape_are_refused_by_name() {
        assert_eq!(
            refused(tensor(DataType::Float, &[3], 13)),
            "tensors[0] \"x\": its raw_data has 13 bytes, not a multiple of the 4 of a FLOAT"
        );
        assert_eq!(
            refused(tensor(DataType::Int64, &[2, 2], 24)),
            "tensors[0] \"x\": its shape [2, 2] has room for 4 elements, but it has 3"
        );
        assert!(refused(tensor(DataType::Undefined, &[], 0)).ends_with("its element type is not set"));
        assert!(refused(tensor(DataType::String, &[1], 2)).contains("ONNX messages cannot hold STRING"));
        assert!(refused(tensor(DataType::Float16, &[1], 3)).contains("3 bytes, not a multiple of the 2 of a FLOAT16"));
        let truth = TensorProto { raw_data: vec![7], ..tensor(DataType::Bool, &[1], 0) };
        assert!(refused(truth).ends_with("element 0 is 7, out of range for BOOL"));
        let unknown = TensorProto { data_type: 99, ..tensor(DataType::Float, &[1], 4) };
        assert!(refused(unknown).contains("its element type 99 is unknown"));
        let nameless = TensorProto { name: String::new(), ..tensor(DataType::Float, &[-4], 4) };
        assert_eq!(refused(nameless), "tensors[0]: dimension 0 of its shape is -4");
    }

    #[test]
    fn a_tensor_is_found_by_name() {
        let message = Message::default().with("x", Tensor::scalar(1_u8)).with("y", Tensor::scalar(2_u8));
        assert_eq!(message.tensor("y").unwrap().elements::<u8>().unwrap(), [2]);
        assert_eq!(message.tensor("z").unwrap_err().to_string(), "there is no tensor \"z\"; there are \"x\", \"y\"");
    }
}
