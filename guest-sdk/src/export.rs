use crate::{BatchProcessor, Processor};

/// Makes the crate a component whose processor is the named type. Use it once, in a crate of type `cdylib`.
///
/// Native builds only check that the type is a [`Processor`].
#[macro_export]
macro_rules! export {
    ($processor:ty) => {
        const _: fn() = $crate::assert_processor::<$processor>;

        #[cfg(target_family = "wasm")]
        const _: () = {
            ::std::thread_local! {
                static PROCESSOR: $crate::component::Slot<$processor> = const { $crate::component::Slot::empty() };
            }

            struct Component;

            impl $crate::component::Guest for Component {
                fn initialize(model: $crate::component::Model) -> ::std::result::Result<(), ::std::string::String> {
                    PROCESSOR.with(|slot| slot.initialize(model))
                }

                fn process(
                    request: $crate::component::Request,
                ) -> ::std::result::Result<$crate::component::Response, $crate::component::Failure> {
                    PROCESSOR.with(|slot| slot.process(request))
                }
            }

    $crate::component::export_component!(Component with_types_in $crate::component);
        };
    };
}

/// Makes the crate a component like [`export!`](crate::export), for a [`BatchProcessor`]. Its service may set
/// `metadata.rpc.batching`; otherwise requests come one by one.
#[macro_export]
macro_rules! export_batch {
    ($processor:ty) => {
        const _: fn() = $crate::assert_batch_processor::<$processor>;

        #[cfg(target_family = "wasm")]
        const _: () = {
            ::std::thread_local! {
                static PROCESSOR: $crate::component::Slot<$processor> = const { $crate::component::Slot::empty() };
            }

            struct Component;

            impl $crate::component::batch::Guest for Component {
                fn initialize(model: $crate::component::Model) -> ::std::result::Result<(), ::std::string::String> {
                    PROCESSOR.with(|slot| slot.initialize(model))
                }

                fn process(
                    request: $crate::component::Request,
                ) -> ::std::result::Result<$crate::component::Response, $crate::component::Failure> {
                    PROCESSOR.with(|slot| slot.process(request))
                }

                fn process_batch(
                    requests: ::std::vec::Vec<$crate::component::Request>,
                ) -> ::std::vec::Vec<::std::result::Result<$crate::component::Response, $crate::component::Failure>>
                {
                    PROCESSOR.with(|slot| slot.process_batch(requests))
                }
            }

    $crate::component::batch::export_batch_component!(Component with_types_in $crate::component::batch);
        };
    };
}

/// Compiles only for types that are processors, so that the compiler's error names the missing trait.
pub const fn assert_processor<P: Processor>() {}

/// Compiles only for types that are processors with batches.
pub const fn assert_batch_processor<P: BatchProcessor>() {}
