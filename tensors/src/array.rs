//! Conversion between tensors and `ArrayProto`. Torch's differs from TensorFlow's only in having no list of booleans.

use std::mem::take;

use half::{bf16, f16};

use crate::element::Data;
use crate::error::TensorError;
use crate::proto::tensorflow::{ArrayDataType as Type, ArrayProto, ArrayShape};
use crate::proto::torch;
use crate::tensor::Tensor;

const TORCH: &str = "Torch";
const TENSORFLOW: &str = "TensorFlow";

/// True if the number stands for a type, supported or not. Every array contains this number.
pub(crate) fn is_type(number: i32) -> bool {
    Type::try_from(number).is_ok_and(|known| known != Type::DtInvalid)
}

pub(crate) fn read_tensorflow(array: ArrayProto) -> Result<Tensor, TensorError> {
    read(array, TENSORFLOW)
}

pub(crate) fn read_torch(array: torch::ArrayProto) -> Result<Tensor, TensorError> {
    let torch::ArrayProto { dtype, array_shape, float_val, double_val, int_val, string_val, int64_val } = array;
    if dtype == Type::DtBool as i32 {
        return Err(unsupported(Type::DtBool.as_str_name(), TORCH));
    }
    let array_shape = array_shape.map(|shape| ArrayShape { dim: shape.dim });
    let bool_val = Vec::new();
    let array = ArrayProto { dtype, array_shape, float_val, double_val, int_val, string_val, int64_val, bool_val };
    read(array, TORCH)
}

pub(crate) fn write_tensorflow(tensor: Tensor) -> Result<ArrayProto, TensorError> {
    write(tensor, TENSORFLOW)
}

pub(crate) fn write_torch(tensor: Tensor) -> Result<torch::ArrayProto, TensorError> {
    if let Data::Bool(_) = tensor.data() {
        return Err(unsupported("bool", TORCH));
    }
    let ArrayProto { dtype, array_shape, float_val, double_val, int_val, string_val, int64_val, .. } =
        write(tensor, TORCH)?;
    let array_shape = array_shape.map(|shape| torch::ArrayShape { dim: shape.dim });
    Ok(torch::ArrayProto { dtype, array_shape, float_val, double_val, int_val, string_val, int64_val })
}

fn read(mut array: ArrayProto, message: &'static str) -> Result<Tensor, TensorError> {
    let number = array.dtype;
    let dtype = Type::try_from(number).map_err(|_| TensorError::UnknownType { number })?;
    let name = dtype.as_str_name();
    let (field, data) = match dtype {
        Type::DtInvalid => return Err(TensorError::NoType),
        Type::DtFloat => ("float_val", Data::F32(take(&mut array.float_val))),
        // The messages have no lists for half-precision and complex numbers. The SDKs send half-precision numbers as
        // wider floats, and complex numbers as pairs.
        Type::DtHalf => ("float_val", Data::F16(narrow_floats(&take(&mut array.float_val), name, f16::from_f32)?)),
        Type::DtBfloat16 => {
            ("float_val", Data::Bf16(narrow_floats(&take(&mut array.float_val), name, bf16::from_f32)?))
        }
        Type::DtComplex64 => ("float_val", Data::Complex64(pairs(&take(&mut array.float_val), name)?)),
        Type::DtDouble => ("double_val", Data::F64(take(&mut array.double_val))),
        Type::DtComplex128 => ("double_val", Data::Complex128(pairs(&take(&mut array.double_val), name)?)),
        Type::DtInt8 | Type::DtQint8 => ("int_val", Data::I8(narrow(take(&mut array.int_val), name)?)),
        Type::DtUint8 | Type::DtQuint8 => ("int_val", Data::U8(narrow(take(&mut array.int_val), name)?)),
        Type::DtInt16 | Type::DtQint16 => ("int_val", Data::I16(narrow(take(&mut array.int_val), name)?)),
        Type::DtUint16 | Type::DtQuint16 => ("int_val", Data::U16(narrow(take(&mut array.int_val), name)?)),
        Type::DtInt32 | Type::DtQint32 => ("int_val", Data::I32(take(&mut array.int_val))),
        Type::DtInt64 => ("int64_val", Data::I64(take(&mut array.int64_val))),
        Type::DtString => ("string_val", Data::Bytes(take(&mut array.string_val))),
        Type::DtBool => ("bool_val", Data::Bool(take(&mut array.bool_val))),
        Type::DtResource | Type::DtVariant => return Err(unsupported(name, message)),
    };
    if let Some((found, count)) = filled(&array) {
        return Err(TensorError::WrongField { type_name: name, field, found, count });
    }
    let tensor = Tensor::of_wire(array.array_shape.map(|shape| shape.dim).unwrap_or_default(), data)?;
    if is_quantized(dtype) { tensor.into_quantized() } else { Ok(tensor) }
}

fn is_quantized(dtype: Type) -> bool {
    matches!(dtype, Type::DtQint8 | Type::DtQuint8 | Type::DtQint16 | Type::DtQuint16 | Type::DtQint32)
}

/// Returns the name and length of a list that has elements.
fn filled(array: &ArrayProto) -> Option<(&'static str, usize)> {
    let lists = [
        ("float_val", array.float_val.len()),
        ("double_val", array.double_val.len()),
        ("int_val", array.int_val.len()),
        ("string_val", array.string_val.len()),
        ("int64_val", array.int64_val.len()),
        ("bool_val", array.bool_val.len()),
    ];
    lists.into_iter().find(|(_, count)| *count > 0)
}

fn narrow<T: TryFrom<i32>>(values: Vec<i32>, type_name: &'static str) -> Result<Vec<T>, TensorError> {
    let narrowed = values.into_iter().enumerate().map(|(index, value)| {
        T::try_from(value).map_err(|_| TensorError::OutOfRange { type_name, index, value: value.into() })
    });
    narrowed.collect()
}

/// Rounds floats to a narrower type. A number that would become infinite is out of range.
fn narrow_floats<T: Copy + Into<f32>>(
    values: &[f32],
    type_name: &'static str,
    round: fn(f32) -> T,
) -> Result<Vec<T>, TensorError> {
    let narrowed = values.iter().enumerate().map(|(index, value)| match round(*value) {
        narrow if narrow.into().is_infinite() && value.is_finite() => {
            Err(TensorError::OutOfRange { type_name, index, value: f64::from(*value) })
        }
        narrow => Ok(narrow),
    });
    narrowed.collect()
}

/// Joins real and imaginary parts, which alternate.
fn pairs<T: Copy>(values: &[T], type_name: &'static str) -> Result<Vec<[T; 2]>, TensorError> {
    match values.as_chunks() {
        (pairs, []) => Ok(pairs.to_vec()),
        _ => Err(TensorError::HalfPair { type_name, numbers: values.len() }),
    }
}

fn write(tensor: Tensor, message: &'static str) -> Result<ArrayProto, TensorError> {
    let is_quantized = tensor.is_quantized();
    let either = |plain, quantized| if is_quantized { quantized } else { plain };
    let (dim, data) = tensor.into_parts();
    let mut array = ArrayProto { array_shape: Some(ArrayShape { dim }), ..ArrayProto::default() };
    let dtype = match data {
        Data::F32(values) => (array.float_val = values, Type::DtFloat).1,
        Data::F16(values) => (array.float_val = values.into_iter().map(f32::from).collect(), Type::DtHalf).1,
        Data::Bf16(values) => (array.float_val = values.into_iter().map(f32::from).collect(), Type::DtBfloat16).1,
        Data::Complex64(values) => (array.float_val = values.into_flattened(), Type::DtComplex64).1,
        Data::F64(values) => (array.double_val = values, Type::DtDouble).1,
        Data::Complex128(values) => (array.double_val = values.into_flattened(), Type::DtComplex128).1,
        Data::I8(values) => (array.int_val = widen(values), either(Type::DtInt8, Type::DtQint8)).1,
        Data::U8(values) => (array.int_val = widen(values), either(Type::DtUint8, Type::DtQuint8)).1,
        Data::I16(values) => (array.int_val = widen(values), either(Type::DtInt16, Type::DtQint16)).1,
        Data::U16(values) => (array.int_val = widen(values), either(Type::DtUint16, Type::DtQuint16)).1,
        Data::I32(values) => (array.int_val = values, either(Type::DtInt32, Type::DtQint32)).1,
        Data::I64(values) => (array.int64_val = values, Type::DtInt64).1,
        Data::Bytes(values) => (array.string_val = values, Type::DtString).1,
        Data::Bool(values) => (array.bool_val = values, Type::DtBool).1,
        Data::U32(_) => return Err(unsupported("u32", message)),
        Data::U64(_) => return Err(unsupported("u64", message)),
    };
    array.set_dtype(dtype);
    Ok(array)
}

fn widen<T: Into<i32>>(values: Vec<T>) -> Vec<i32> {
    values.into_iter().map(Into::into).collect()
}

fn unsupported(name: &str, message: &'static str) -> TensorError {
    TensorError::UnsupportedType { name: name.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(dtype: Type, dims: &[i64]) -> ArrayProto {
        ArrayProto {
            dtype: dtype.into(),
            array_shape: Some(ArrayShape { dim: dims.to_vec() }),
            ..ArrayProto::default()
        }
    }

    fn refused(array: ArrayProto) -> String {
        read_tensorflow(array).unwrap_err().to_string()
    }

    #[test]
    fn every_type_that_can_be_sent_comes_back() {
        let tensors = [
            Tensor::vector(vec![0.5_f32, f32::MIN]),
            Tensor::vector(vec![0.5_f64, f64::MAX]),
            Tensor::vector(vec![i8::MIN, i8::MAX]),
            Tensor::vector(vec![0, u8::MAX]),
            Tensor::vector(vec![i16::MIN, i16::MAX]),
            Tensor::vector(vec![0, u16::MAX]),
            Tensor::vector(vec![i32::MIN, i32::MAX]),
            Tensor::vector(vec![i64::MIN, i64::MAX]),
            Tensor::vector(vec![Vec::new(), vec![0xff]]),
            Tensor::vector(vec![f16::MIN, f16::from_f32(0.5), f16::INFINITY]),
            Tensor::vector(vec![bf16::MAX, bf16::from_f32(0.5), bf16::NEG_INFINITY]),
            Tensor::vector(vec![[1.0_f32, -1.0], [0.0, f32::MAX]]),
            Tensor::vector(vec![[1.0_f64, -1.0], [0.0, f64::MAX]]),
            Tensor::vector(vec![i8::MIN, i8::MAX]).into_quantized().unwrap(),
            Tensor::vector(vec![0, u8::MAX]).into_quantized().unwrap(),
            Tensor::vector(vec![i16::MIN, i16::MAX]).into_quantized().unwrap(),
            Tensor::vector(vec![0, u16::MAX]).into_quantized().unwrap(),
            Tensor::vector(vec![i32::MIN, i32::MAX]).into_quantized().unwrap(),
            Tensor::new(&[0, 3], Vec::<f32>::new()).unwrap(),
            Tensor::scalar(1_i32),
        ];
        for tensor in tensors {
            assert_eq!(read_tensorflow(write_tensorflow(tensor.clone()).unwrap()), Ok(tensor.clone()));
            assert_eq!(read_torch(write_torch(tensor.clone()).unwrap()), Ok(tensor));
        }
        let truths = Tensor::vector(vec![true, false]);
        assert_eq!(read_tensorflow(write_tensorflow(truths.clone()).unwrap()), Ok(truths.clone()));
        assert_eq!(write_torch(truths).unwrap_err().to_string(), "Torch messages cannot hold bool");
        let wide = write_tensorflow(Tensor::scalar(1_u64)).unwrap_err();
        assert_eq!(wide.to_string(), "TensorFlow messages cannot hold u64");
    }

    #[test]
    fn elements_in_the_wrong_list_are_named() {
        let wrong = ArrayProto { double_val: vec![1.0; 4], ..array(Type::DtFloat, &[4]) };
        assert_eq!(
            refused(wrong),
            "its type is DT_FLOAT, so its elements belong in float_val, but 4 of them are in double_val"
        );
        let both = ArrayProto { float_val: vec![1.0], bool_val: vec![true], ..array(Type::DtFloat, &[1]) };
        assert!(refused(both).contains("1 of them are in bool_val"), "too many are as wrong as too few");
    }

    #[test]
    fn types_that_are_none_or_cannot_be_sent_are_named() {
        assert_eq!(refused(array(Type::DtInvalid, &[])), "its element type is not set");
        for (dtype, name) in [(Type::DtResource, "DT_RESOURCE"), (Type::DtVariant, "DT_VARIANT")] {
            assert_eq!(refused(array(dtype, &[])), format!("TensorFlow messages cannot hold {name}"));
        }
        let unknown = ArrayProto { dtype: 77, ..ArrayProto::default() };
        assert_eq!(refused(unknown), "its element type 77 is unknown");
        let truths = torch::ArrayProto { dtype: Type::DtBool.into(), ..torch::ArrayProto::default() };
        assert_eq!(read_torch(truths).unwrap_err().to_string(), "Torch messages cannot hold DT_BOOL");
    }

    #[test]
    fn elements_that_do_not_fit_their_type_are_named() {
        let wide = ArrayProto { int_val: vec![1, 300], ..array(Type::DtUint8, &[2]) };
        assert_eq!(refused(wide), "element 1 is 300, out of range for DT_UINT8");
        let negative = ArrayProto { int_val: vec![-1], ..array(Type::DtUint16, &[1]) };
        assert_eq!(refused(negative), "element 0 is -1, out of range for DT_UINT16");
        let quantized = ArrayProto { int_val: vec![128], ..array(Type::DtQint8, &[1]) };
        assert_eq!(refused(quantized), "element 0 is 128, out of range for DT_QINT8");
        let large = ArrayProto { float_val: vec![0.0, 70_000.0], ..array(Type::DtHalf, &[2]) };
        assert_eq!(refused(large), "element 1 is 70000, out of range for DT_HALF");
    }

    /// The Python SDK puts quantised integers into `int_val`, the Java SDK half-precision and complex numbers into
    /// `float_val` and `double_val`.
    #[test]
    fn elements_are_read_from_where_the_sdks_put_them() {
        let signed = [Type::DtInt8, Type::DtQint8, Type::DtInt16, Type::DtQint16, Type::DtInt32, Type::DtQint32];
        let unsigned = [Type::DtUint8, Type::DtQuint8, Type::DtUint16, Type::DtQuint16];
        for dtype in signed.into_iter().chain(unsigned) {
            let sent = ArrayProto { int_val: vec![1, 2, 3], ..array(dtype, &[3]) };
            let tensor = read_tensorflow(sent.clone()).unwrap();
            assert_eq!(*tensor.to_f32().unwrap(), [1.0, 2.0, 3.0], "{dtype:?}");
            assert_eq!(tensor.is_quantized(), dtype.as_str_name().starts_with("DT_Q"), "{dtype:?}");
            assert_eq!(write_tensorflow(tensor), Ok(sent), "{dtype:?}");
        }
        for dtype in [Type::DtHalf, Type::DtBfloat16] {
            let sent = ArrayProto { float_val: vec![0.5, -2.0], ..array(dtype, &[2]) };
            let tensor = read_tensorflow(sent.clone()).unwrap();
            assert_eq!(*tensor.to_f32().unwrap(), [0.5, -2.0], "{dtype:?}");
            assert_eq!(write_tensorflow(tensor), Ok(sent), "{dtype:?}");
        }
        let complex = ArrayProto { float_val: vec![1.0, 2.0, 3.0, 4.0], ..array(Type::DtComplex64, &[2]) };
        let tensor = read_tensorflow(complex).unwrap();
        assert_eq!(tensor.elements::<[f32; 2]>().unwrap(), [[1.0, 2.0], [3.0, 4.0]]);
        let complex = ArrayProto { double_val: vec![1.0, 2.0, 3.0], ..array(Type::DtComplex128, &[2]) };
        assert_eq!(refused(complex), "it has 3 numbers, not a multiple of the 2 of a DT_COMPLEX128");
    }

    #[test]
    fn an_array_without_a_shape_is_a_single_element() {
        let single = ArrayProto { array_shape: None, float_val: vec![2.0], ..array(Type::DtFloat, &[]) };
        assert_eq!(read_tensorflow(single), Ok(Tensor::scalar(2.0_f32)));
        let several = ArrayProto { array_shape: None, float_val: vec![2.0; 2], ..array(Type::DtFloat, &[]) };
        assert_eq!(refused(several), "its shape [] has room for 1 element, but it has 2");
    }
}
