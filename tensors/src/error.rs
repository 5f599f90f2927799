use std::fmt;

use crate::element::ElementType;

/// A mistake in one tensor. Every message continues the tensor's name: `inputs["x"]: its shape …`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TensorError {
    /// The number of elements differs from the product of the dimensions.
    Shape {
        shape: Vec<usize>,
        room: usize,
        elements: usize,
    },
    /// The product of the dimensions overflows.
    TooLarge {
        dims: Vec<i64>,
    },
    NegativeDimension {
        index: usize,
        value: i64,
    },
    /// The message does not state the element type.
    NoType,
    /// The type number is not defined.
    UnknownType {
        number: i32,
    },
    /// A type that this kind of message cannot hold.
    UnsupportedType {
        name: String,
        message: &'static str,
    },
    /// Elements are in the field of another type.
    WrongField {
        type_name: &'static str,
        field: &'static str,
        found: &'static str,
        count: usize,
    },
    /// An element does not fit the tensor's type.
    OutOfRange {
        type_name: &'static str,
        index: usize,
        value: f64,
    },
    /// The number of floats is odd, so a complex number lacks its imaginary part.
    HalfPair {
        type_name: &'static str,
        numbers: usize,
    },
    /// Elements of this type are never quantised.
    NotQuantizable {
        found: ElementType,
    },
    /// The bytes end in the middle of an element.
    Ragged {
        type_name: &'static str,
        size: usize,
        bytes: usize,
    },
    /// The elements are not of the requested type.
    WrongType {
        wanted: &'static str,
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
    Malformed { message: &'static str, reason: String },
    /// One tensor of the message is invalid.
    Tensor { name: String, error: TensorError },
    /// The message lacks the requested part.
    Missing { what: String, there: Vec<String> },
    /// The bytes are not a request of any kind; the reason for each kind.
    Unknown { tensorflow: String, torch: String, onnx: String },
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
