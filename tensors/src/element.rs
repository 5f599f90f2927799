//! The element types of tensors.

use std::fmt;

use half::{bf16, f16};

/// A type that the elements of a tensor can have.
pub trait Element: Sized + private::Sealed {
    /// The name of this type at run time.
    const TYPE: ElementType;

    /// Makes the data of a tensor of these elements.
    fn wrap(elements: Vec<Self>) -> Data;
    /// Returns the elements if they are of this type.
    fn of(data: &Data) -> Option<&[Self]>;
    /// Returns the elements if they are of this type, otherwise the data unchanged.
    ///
    /// # Errors
    /// The data, unchanged.
    fn take(data: Data) -> Result<Vec<Self>, Data>;
}

mod private {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($(#[$about:meta])* $variant:ident($type:ty) = $name:literal),* $(,)?) => {
        /// The elements of a tensor, row by row: the last dimension varies fastest.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Data {
            $($(#[$about])* $variant(Vec<$type>),)*
        }

        /// The type of a tensor's elements.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum ElementType {
            $($(#[$about])* $variant,)*
        }

        impl Data {
            /// Returns the number of elements.
            #[must_use]
            pub fn len(&self) -> usize {
                match self {
                    $(Self::$variant(elements) => elements.len(),)*
                }
            }

            /// True if there are no elements.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Returns the type of the elements.
            #[must_use]
            pub fn element_type(&self) -> ElementType {
                match self {
                    $(Self::$variant(_) => ElementType::$variant,)*
                }
            }
        }

        impl ElementType {
            /// Returns the type's name in Rust; `bytes` for strings.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        $(
            impl private::Sealed for $type {}

            impl Element for $type {
                const TYPE: ElementType = ElementType::$variant;

                fn wrap(elements: Vec<Self>) -> Data {
                    Data::$variant(elements)
                }

                fn of(data: &Data) -> Option<&[Self]> {
                    match data {
                        Data::$variant(elements) => Some(elements),
                        _ => None,
                    }
                }

                fn take(data: Data) -> Result<Vec<Self>, Data> {
                    match data {
                        Data::$variant(elements) => Ok(elements),
                        other => Err(other),
                    }
                }
            }
        )*
    };
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

elements! {
    /// Single precision.
    F32(f32) = "f32",
    /// Double precision.
    F64(f64) = "f64",
    /// Signed integers of 8 bits.
    I8(i8) = "i8",
    /// Unsigned integers of 8 bits.
    U8(u8) = "u8",
    /// Signed integers of 16 bits.
    I16(i16) = "i16",
    /// Unsigned integers of 16 bits.
    U16(u16) = "u16",
    /// Signed integers of 32 bits.
    I32(i32) = "i32",
    /// Unsigned integers of 32 bits.
    U32(u32) = "u32",
    /// Signed integers of 64 bits.
    I64(i64) = "i64",
    /// Unsigned integers of 64 bits.
    U64(u64) = "u64",
    /// Half precision, IEEE 754's binary16.
    F16(f16) = "f16",
    /// Half precision with the exponent of `f32`.
    Bf16(bf16) = "bf16",
    /// Complex numbers, each a real and an imaginary part.
    Complex64([f32; 2]) = "complex64",
    /// Complex numbers, each a real and an imaginary part.
    Complex128([f64; 2]) = "complex128",
    /// Booleans.
    Bool(bool) = "bool",
    /// Strings, which need not be UTF-8.
    Bytes(Vec<u8>) = "bytes",
}
