use std::fmt;

use crate::element::ElementType;

/// What is wrong with one tensor. Every message reads on from the tensor's name: `inputs["x"]: its shape …`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TensorError {
    /// The elements do not fill the shape, or are more than it has room for.
    Shape {
        shape: Vec<usize>,
        room: usize,
        elements: usize,
    },
    /// The product of the dimensions cannot be counted.
    TooLarge {
        dims: Vec<i64>,
    },
    NegativeDimension {
        index: usize,
        value: i64,
    },
    /// The message does not say what the elements are.
    NoType,
    /// The number stands for no type.
    UnknownType {
        number: i32,
    },
    /// A type that this kind of message has no place for.
    UnsupportedType {
        name: String,
        message: &'static str,
    },
    /// Elements lie where those of another type belong.
    WrongField {
        type_name: &'static str,
        field: &'static str,
        found: &'static str,
        count: usize,
    },
    /// An element does not fit its tensor's type.
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
    /// The elements are not of the type that was asked for.
    WrongType {
        wanted: &'static str,
        found: ElementType,
    },
    /// What else its reader has against it.
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
            Self::NoType => f.write_str("it does not say of which type its elements are"),
            Self::UnknownType { number } => write!(f, "its type is {number}, which stands for none"),
            Self::UnsupportedType { name, message } => write!(f, "there is no place for {name} in {message} messages"),
            Self::WrongField { type_name, field, found, count } => write!(
                f,
                "its type is {type_name}, whose elements belong into {field}, but {count} of them are in {found}"
            ),
            Self::OutOfRange { type_name, index, value } => {
                write!(f, "element {index} is {value}, which no {type_name} can be")
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
    /// The same about the tensor of this name.
    pub fn of(self, name: impl Into<String>) -> Error {
        Error::Tensor { name: name.into(), error: self }
    }
}

/// Why a message cannot be read or written.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are no message of this kind.
    Malformed { message: &'static str, reason: String },
    /// One tensor of the message is not in order.
    Tensor { name: String, error: TensorError },
    /// The message does not have what was asked for.
    Missing { what: String, there: Vec<String> },
    /// The bytes are no request of any kind; what keeps them from being one of each.
    Unknown { tensorflow: String, torch: String, onnx: String },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { message, reason } => write!(f, "this is no {message} message: {reason}"),
            Self::Tensor { name, error } => write!(f, "{name}: {error}"),
            Self::Missing { what, there } => match there.as_slice() {
                [] => write!(f, "there is no {what}"),
                [one] => write!(f, "there is no {what}; there is {one}"),
                several => write!(f, "there is no {what}; there are {}", several.join(", ")),
            },
            Self::Unknown { tensorflow, torch, onnx } => write!(
                f,
                "this is no TensorFlow request ({tensorflow}), no Torch request ({torch}) and no ONNX request ({onnx})"
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
