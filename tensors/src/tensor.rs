use std::borrow::Cow;

use crate::element::{Data, Element, ElementType};
use crate::error::{Error, TensorError};

/// An array of some shape. Its elements always fill the shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Data,
    /// True if the integers are quantised: the model has the scale and zero point to convert them.
    is_quantized: bool,
}

impl Tensor {
    /// Makes a tensor of these elements, row by row.
    ///
    /// # Errors
    /// If the number of elements differs from the product of the dimensions.
    pub fn new<T: Element>(shape: &[usize], elements: Vec<T>) -> Result<Self, TensorError> {
        Self::of_data(shape.to_vec(), T::wrap(elements))
    }

    /// Makes a tensor of elements whose type is known only at run time.
    ///
    /// # Errors
    /// If the number of elements differs from the product of the dimensions.
    pub fn of_data(shape: Vec<usize>, data: Data) -> Result<Self, TensorError> {
        let room = shape.iter().try_fold(1_usize, |room, dim| room.checked_mul(*dim));
        match room {
            Some(room) if room == data.len() => Ok(Self { shape, data, is_quantized: false }),
            Some(room) => Err(TensorError::Shape { shape, room, elements: data.len() }),
            None => {
                let dims = shape.into_iter().map(|dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect();
                Err(TensorError::TooLarge { dims })
            }
        }
    }

    /// Makes a tensor of the dimensions in a message.
    pub(crate) fn of_wire(dims: Vec<i64>, data: Data) -> Result<Self, TensorError> {
        if let Some((index, value)) = dims.iter().enumerate().find(|(_, dim)| **dim < 0) {
            return Err(TensorError::NegativeDimension { index, value: *value });
        }
        match dims.iter().map(|dim| usize::try_from(*dim)).collect() {
            Ok(shape) => Self::of_data(shape, data),
            Err(_) => Err(TensorError::TooLarge { dims }),
        }
    }

    /// Makes a tensor of one dimension.
    #[must_use]
    pub fn vector<T: Element>(elements: Vec<T>) -> Self {
        Self { shape: vec![elements.len()], data: T::wrap(elements), is_quantized: false }
    }

    /// Makes a tensor of no dimension and one element.
    #[must_use]
    pub fn scalar<T: Element>(element: T) -> Self {
        Self { shape: Vec::new(), data: T::wrap(vec![element]), is_quantized: false }
    }

    /// Marks the integers as quantised: in TensorFlow and Torch messages their type becomes `DT_QINT8` and the like.
    ///
    /// # Errors
    /// If the element type has no quantised counterpart.
    pub fn into_quantized(self) -> Result<Self, TensorError> {
        match self.element_type() {
            ElementType::I8 | ElementType::U8 | ElementType::I16 | ElementType::U16 | ElementType::I32 => {
                Ok(Self { is_quantized: true, ..self })
            }
            found => Err(TensorError::NotQuantizable { found }),
        }
    }

    /// True if the message marks the elements as quantised. Messages contain no scale and no zero point: the model has
    /// them.
    #[must_use]
    pub fn is_quantized(&self) -> bool {
        self.is_quantized
    }

    /// Returns the dimensions; none for a scalar.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the elements as data whose type is known only at run time.
    #[must_use]
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Returns the type of the elements.
    #[must_use]
    pub fn element_type(&self) -> ElementType {
        self.data.element_type()
    }

    /// Returns the elements, row by row.
    ///
    /// # Errors
    /// If they are of another type.
    pub fn elements<T: Element>(&self) -> Result<&[T], TensorError> {
        T::of(&self.data).ok_or_else(|| wrong_type::<T>(self.element_type()))
    }

    /// Takes the elements out of the tensor, row by row.
    ///
    /// # Errors
    /// If they are of another type.
    pub fn into_elements<T: Element>(self) -> Result<Vec<T>, TensorError> {
        T::take(self.data).map_err(|data| wrong_type::<T>(data.element_type()))
    }

    /// Returns real elements of any type as `f32`; values that `f32` cannot hold exactly are rounded. Quantised
    /// integers are not scaled.
    ///
    /// # Errors
    /// If the elements are strings, booleans or complex numbers.
    pub fn to_f32(&self) -> Result<Cow<'_, [f32]>, TensorError> {
        Ok(match &self.data {
            Data::F32(elements) => Cow::Borrowed(elements),
            Data::F64(elements) => elements.iter().map(|x| *x as f32).collect(),
            Data::F16(elements) => elements.iter().map(|x| f32::from(*x)).collect(),
            Data::Bf16(elements) => elements.iter().map(|x| f32::from(*x)).collect(),
            Data::I8(elements) => elements.iter().map(|x| f32::from(*x)).collect(),
            Data::U8(elements) => elements.iter().map(|x| f32::from(*x)).collect(),
            Data::I16(elements) => elements.iter().map(|x| f32::from(*x)).collect(),
            Data::U16(elements) => elements.iter().map(|x| f32::from(*x)).collect(),
            Data::I32(elements) => elements.iter().map(|x| *x as f32).collect(),
            Data::U32(elements) => elements.iter().map(|x| *x as f32).collect(),
            Data::I64(elements) => elements.iter().map(|x| *x as f32).collect(),
            Data::U64(elements) => elements.iter().map(|x| *x as f32).collect(),
            Data::Bool(_) | Data::Bytes(_) | Data::Complex64(_) | Data::Complex128(_) => {
                return Err(TensorError::WrongType { wanted: "real numbers", found: self.element_type() });
            }
        })
    }

    /// Makes an error that names this tensor and its shape, for checks by its reader.
    pub fn refuse(&self, name: impl Into<String>, why: impl Into<String>) -> Error {
        let why = format!("{}; its shape is {:?}", why.into(), self.shape);
        TensorError::Other(why).of(name)
    }

    pub(crate) fn into_parts(self) -> (Vec<i64>, Data) {
        // Never saturates: dimensions from a message came from `i64`, and elements in memory are fewer than `i64::MAX`.
        let dims = self.shape.into_iter().map(|dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect();
        (dims, self.data)
    }
}

fn wrong_type<T: Element>(found: ElementType) -> TensorError {
    TensorError::WrongType { wanted: T::TYPE.name(), found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_fill_the_shape_or_there_is_no_tensor() {
        let tensor = Tensor::new(&[2, 2], vec![1_i64, 2, 3, 4]).unwrap();
        assert_eq!((tensor.shape(), tensor.elements::<i64>().unwrap()), (&[2, 2][..], &[1, 2, 3, 4][..]));
        let error = Tensor::new(&[2, 3], vec![0_u8; 5]).unwrap_err();
        assert_eq!(error.to_string(), "its shape [2, 3] has room for 6 elements, but it has 5");
        let error = Tensor::new(&[usize::MAX, 2], vec![0_u8; 5]).unwrap_err();
        assert!(error.to_string().ends_with("has more elements than can be counted"), "{error}");
        assert!(Tensor::new::<f32>(&[0, 7], Vec::new()).is_ok(), "an empty batch");
        assert!(Tensor::new::<f32>(&[], Vec::new()).is_err(), "a shape without dimensions has one element");
    }

    #[test]
    fn a_shape_from_a_message_may_be_nonsense() {
        let refused = |dims: &[i64]| Tensor::of_wire(dims.to_vec(), Data::F32(vec![1.0])).unwrap_err().to_string();
        assert_eq!(refused(&[1, -1]), "dimension 1 of its shape is -1");
        assert_eq!(
            refused(&[i64::MAX, i64::MAX]),
            "its shape [9223372036854775807, 9223372036854775807] has more elements than can be counted"
        );
        assert_eq!(refused(&[0]), "its shape [0] has room for 0 elements, but it has 1");
        assert!(refused(&[1 << 32, 1 << 32, 0]).contains("counted"), "even where the product would be zero");
    }

    #[test]
    fn elements_are_asked_for_by_type() {
        let tensor = Tensor::vector(vec![0.5_f64]);
        assert_eq!(tensor.elements::<f32>().unwrap_err().to_string(), "its elements are f64, not f32");
        assert_eq!(*tensor.to_f32().unwrap(), [0.5]);
        assert_eq!(tensor.into_elements::<f64>().unwrap(), [0.5]);
        let words = Tensor::vector(vec![b"a".to_vec()]);
        assert_eq!(words.to_f32().unwrap_err().to_string(), "its elements are bytes, not real numbers");
        assert_eq!(Tensor::scalar(true).shape(), &[0_usize; 0]);
    }

    #[test]
    fn all_numbers_can_be_had_as_floats() {
        let numbers = [
            Tensor::scalar(3_i8),
            Tensor::scalar(3_u8),
            Tensor::scalar(3_i16),
            Tensor::scalar(3_u16),
            Tensor::scalar(3_i32),
            Tensor::scalar(3_u32),
            Tensor::scalar(3_i64),
            Tensor::scalar(3_u64),
            Tensor::scalar(3_f32),
            Tensor::scalar(3_f64),
            Tensor::scalar(half::f16::from_f32(3.0)),
            Tensor::scalar(half::bf16::from_f32(3.0)),
            Tensor::scalar(3_u8).into_quantized().unwrap(),
        ];
        for number in numbers {
            assert_eq!(*number.to_f32().unwrap(), [3.0], "{number:?}");
        }
        assert!(Tensor::scalar([3_f32, 0.0]).to_f32().is_err(), "a complex number is no float");
    }

    #[test]
    fn integers_of_up_to_32_bits_can_be_quantised() {
        let tensor = Tensor::vector(vec![1_i8, 2]);
        assert!(!tensor.is_quantized());
        let quantized = tensor.clone().into_quantized().unwrap();
        assert!(quantized.is_quantized() && quantized != tensor, "a message says which of the two it is");
        let error = Tensor::scalar(1_i64).into_quantized().unwrap_err();
        assert_eq!(error.to_string(), "its elements are i64; i8, u8, i16, u16 and i32 can be quantised");
    }
}
