//! Generated from the definitions in `proto/`; `tests/generated.rs` checks that both agree.

#![expect(unreachable_pub, reason = "generated code is public, but this module is private")]

pub(crate) mod tensorflow {
    include!("proto/eas.tensorflow.rs");
}

pub(crate) mod torch {
    include!("proto/pytorch.eas.rs");
}

pub(crate) mod onnx {
    include!("proto/hie.processor.rs");
}
