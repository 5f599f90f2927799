//! Generated from the definitions in `proto/`, and held against them by `tests/generated.rs`.

#![expect(unreachable_pub, reason = "what is generated does not know that it stays inside")]

pub(crate) mod tensorflow {
    include!("proto/eas.tensorflow.rs");
}

pub(crate) mod torch {
    include!("proto/pytorch.eas.rs");
}

pub(crate) mod onnx {
    include!("proto/hie.processor.rs");
}
