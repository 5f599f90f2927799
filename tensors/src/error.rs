use std::fmt;

use crate::element::ElementType;

/// A mistake in one tensor. Every message continues the tensor's name: `inputs["x"]: its shape …`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TensorError {
    /// The number of elements differs from the product of the dimensions.
    Shape {
        /// The dimensions.
        shape: Vec<usize>,
        /// The product of the dimensions.
        room: usize,
        /// The number of elements.
        elements: usize,
    },
    /// The product of the dimensions overflows.
    TooLarge {
        /// The dimensions, as the message has them.
        dims: Vec<i64>,
    },
    /// A dimension is below zero.
    NegativeDimension {
        /// The position of the dimension, from 0.
        index: usize,
        /// The dimension.
        value: i64,
    },
    /// The message does not state the element type.
    NoType,
    /// The type number is not defined.
    UnknownType {
        /// The number in the message.
        number: i32,
    },
    /// A type that this kind of message cannot hold.
    UnsupportedType {
        /// The name of the type.
        name: String,
        /// The kind of message.
        message: &'static str,
    },
    /// Elements are in the field of another type.
    WrongField {
        /// The tensor's type.
        type_name: &'static str,
        /// The field for elements of that type.
        field: &'static str,
        /// The field that has elements instead.
        found: &'static str,
        /// The number of elements in that field.
        count: usize,
    },
    /// An element does not fit the tensor's type.
    OutOfRange {
        /// The tensor's type.
        type_name: &'static str,
        /// The position of the element, from 0.
        index: usize,
        /// The element.
        value: f64,
    },
    /// The number of floats is odd, so a complex number lacks its imaginary part.
    HalfPair {
        /// The tensor's type.
        type_name: &'static str,
        /// The number of floats.
        numbers: usize,
    },
    /// Elements of this type are never quantised.
    NotQuantizable {
        /// The type of the elements.
        found: ElementType,
    },
    /// The bytes end in the middle of an element.
    Ragged {
        /// The tensor's type.
        type_name: &'static str,
        /// The size of an element in bytes.
        size: usize,
        /// The number of bytes in the message.
        bytes: usize,
    },
    /// The elements are not of the requested type.
    WrongType {
        /// The requested type.
        wanted: &'static str,
        /// The type of the elements.
        found: ElementType,
    },
    /// Another reason, given by the reader of the tensor.
    Other(String),
}

impl fmt::Display for TensorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape { shape, room, elements } => {
                write!(f, "its shape {shape:?} has room for {}, but it has {elements}", count(*room, "element"))
            }
            Self::TooLarge { dims } => write!(f, "its shape {dims:?} has more elements than can be counted"),
            Self::NegativeDimension { index, value } => write!(f, "dimension {index} of its shape is {value}"),
            Self::NoType => f.write_str("its element type is not set"),
            Self::UnknownType { number } => write!(f, "its element type {number} is unknown"),
            Self::UnsupportedType { name, message } => write!(f, "{message} messages cannot hold {name}"),
            Self::WrongField { type_name, field, found, count } => write!(
                f,
                "its type is {type_name}, so its elements belong in {field}, but {count} of them are in {found}"
            ),
            Self::OutOfRange { type_name, index, value } => {
                write!(f, "element {index} is {value}, out of range for {type_name}")
            }
            Self::HalfPair { type_name, numbers } => {
                write!(f, "it has {}, not a multiple of the 2 of a {type_name}", count(*numbers, "number"))
            }
            Self::NotQuantizable { found } => {
                write!(f, "its elements are {found}; i8, u8, i16, u16 and i32 can be quantised")
            }
            Self::Ragged { type_name, size, bytes } => {
                write!(f, "its raw_data has {}, not a multiple of the {size} of a {type_name}", count(*bytes, "byte"))
            }
            Self::WrongType { wanted, found } => write!(f, "its elements are {found}, not {wanted}"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for TensorError {}

impl TensorError {
    /// Adds the name of the tensor.
    pub fn of(self, name: impl Into<String>) -> Error {
        Error::Tensor { name: name.into(), error: self }
    }
}

/// A failure to read or write a message.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not a message of this kind.
    Malformed {
        /// The kind of message.
        message: &'static str,
        /// The mistake in the bytes.
        reason: String,
    },
    /// One tensor of the message is invalid.
    Tensor {
        /// The tensor's place in the message, such as `inputs["x"]`.
        name: String,
        /// The mistake in the tensor.
        error: TensorError,
    },
    /// The message lacks the requested part.
    Missing {
        /// The requested part, such as `input "x"`.
        what: String,
        /// The parts of this kind that the message has.
        there: Vec<String>,
    },
    /// The bytes are not a request of any kind; the reason for each kind.
    Unknown {
        /// The reason why it is not a TensorFlow request.
        tensorflow: String,
        /// The reason why it is not a Torch request.
        torch: String,
        /// The reason why it is not an ONNX request.
        onnx: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { message, reason } => write!(f, "this is not a {message} message: {reason}"),
            Self::Tensor { name, error } => write!(f, "{name}: {error}"),
            Self::Missing { what, there } => match there.as_slice() {
                [] => write!(f, "there is no {what}"),
                [one] => write!(f, "there is no {what}; there is {one}"),
                several => write!(f, "there is no {what}; there are {}", several.join(", ")),
            },
            Self::Unknown { tensorflow, torch, onnx } => write!(
                f,
                "this is not a TensorFlow request ({tensorflow}), a Torch request ({torch}) or an ONNX request ({onnx})"
            ),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    pub(crate) fn malformed(message: &'static str, cause: &prost::DecodeError) -> Self {
        Self::Malformed { message, reason: cause.to_string() }
    }
}

fn count(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
