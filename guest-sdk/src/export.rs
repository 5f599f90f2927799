use crate::{BatchProcessor, Processor};

/// Makes the crate a component whose processor is the named type. Say it once, in a crate of type `cdylib`.
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

/// As [`export!`](crate::export), of a [`BatchProcessor`]: its service may set `metadata.rpc.batching`. Where it does not, requests
/// come one by one.
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

/// Compiles for processors only, and says so in the error.
pub const fn assert_processor<P: Processor>() {}

/// The same for processors that take batches.
pub const fn assert_batch_processor<P: BatchProcessor>() {}
