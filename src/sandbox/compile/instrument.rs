//! The child's part of a snapshot: makes a component that exposes its globals and memories, and one that starts with
//! the exposed values. The host reads the values and does not parse the component; that happens here, under
//! confinement.

use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wasmparser::{CanonicalFunction, Parser, Payload};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

use super::expose;
use crate::sandbox::state::Value;

/// Returns `wasm` with exports for everything in its globals and memories.
///
/// # Errors
/// Says why its state cannot be exposed, or would be incomplete.
pub(super) fn instrument(wasm: &[u8]) -> Result<Vec<u8>, String> {
    if makes_resources(wasm) {
        // The handles of these resources are in a table of the engine, which no export exposes.
        return Err("it makes resources of its own".into());
    }
    caught(|| {
        let shown = expose::globals(wasm).map_err(|error| error.to_string())?;
        let instrumented = Wizer::new().instrument_component(&shown).map_err(|error| format!("{error:#}"))?;
        Ok(instrumented.1)
    })
}

/// Returns `wasm` as a component that starts with the state `values`.
pub(super) fn with_state(wasm: &[u8], values: HashMap<String, Value>) -> Result<Vec<u8>, String> {
    picture(wasm, &mut State(values))
}

fn picture(wasm: &[u8], state: &mut impl ComponentInstanceState) -> Result<Vec<u8>, String> {
    caught(|| {
        let failed = |error: wasmtime::Error| format!("{error:#}");
        let wizer = Wizer::new();
        let wasm = expose::globals(wasm).map_err(|error| error.to_string())?;
        let (component, _) = wizer.instrument_component(&wasm).map_err(failed)?;
        let snapshot = pin!(wizer.snapshot_component(&component, state));
        match snapshot.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(snapshot) => snapshot.map_err(failed),
            Poll::Pending => Err("its values were not read at once".into()),
        }
    })
}

/// Runs `work` and turns a panic into an error. The library panics on some unsupported components, and the host would
/// take the child's panic for a bug of the compiler.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let outcome = catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(hook);
    outcome.unwrap_or_else(|_| Err("it is built in a way that is not supported".into()))
}

fn makes_resources(wasm: &[u8]) -> bool {
    Parser::new(0).parse_all(wasm).any(|payload| match payload {
        Ok(Payload::ComponentCanonicalSection(section)) => {
            section.into_iter().any(|function| matches!(function, Ok(CanonicalFunction::ResourceNew { .. })))
        }
        _ => false,
    })
}

/// The source of the values that the instrumented component has exposed.
struct State(HashMap<String, Value>);

impl State {
    fn value(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or_else(|| panic!("no value was read of {name}"))
    }
}

impl ComponentInstanceState for State {
    async fn call_func_ret_list_u8(&mut self, _: &str, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        match self.value(name) {
            Value::Memory(bytes) => contents(bytes),
            other => panic!("{name} is {other:?}"),
        }
    }

    async fn call_func_ret_s32(&mut self, _: &str, name: &str) -> i32 {
        match self.value(name) {
            Value::I32(value) => *value,
            other => panic!("{name} is {other:?}"),
        }
    }

    async fn call_func_ret_s64(&mut self, _: &str, name: &str) -> i64 {
        match self.value(name) {
            Value::I64(value) => *value,
            other => panic!("{name} is {other:?}"),
        }
    }

    async fn call_func_ret_f32(&mut self, _: &str, name: &str) -> u32 {
        match self.value(name) {
            Value::F32(bits) => *bits,
            other => panic!("{name} is {other:?}"),
        }
    }

    async fn call_func_ret_f64(&mut self, _: &str, name: &str) -> u64 {
        match self.value(name) {
            Value::F64(bits) => *bits,
            other => panic!("{name} is {other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use wasmtime::CacheStore;

    use super::*;
    use crate::sandbox::compile::functions::{Known, Learnt};
    use crate::sandbox::engine::{self, EngineKind};

    /// A guest whose globals and memories are zero.
    struct Zeroes;

    impl ComponentInstanceState for Zeroes {
        async fn call_func_ret_list_u8(&mut self, _: &str, _: &str, contents: impl FnOnce(&[u8]) + Send) {
            contents(&vec![0; 2 << 20]);
        }

        async fn call_func_ret_s32(&mut self, _: &str, _: &str) -> i32 {
            0
        }

        async fn call_func_ret_s64(&mut self, _: &str, _: &str) -> i64 {
            0
        }

        async fn call_func_ret_f32(&mut self, _: &str, _: &str) -> u32 {
            0
        }

        async fn call_func_ret_f64(&mut self, _: &str, _: &str) -> u64 {
            0
        }
    }

    #[derive(Debug)]
    struct Counted {
        known: Known,
        hits: AtomicUsize,
        misses: AtomicUsize,
    }

    impl CacheStore for Counted {
        fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
            let found = self.known.get(key);
            let count = if found.is_some() { &self.hits } else { &self.misses };
            count.fetch_add(1, Ordering::Relaxed);
            found
        }

        fn insert(&self, _: &[u8], _: Vec<u8>) -> bool {
            false
        }
    }

    fn echo() -> Vec<u8> {
        std::fs::read(bulkhead_artifacts::guest("echo")).unwrap()
    }

    #[test]
    fn an_image_is_compiled_from_the_functions_of_its_upload_and_comes_out_the_same() {
        // The more threads compile, the more functions are not found again, and which ones varies: 20 of 430 on one
        // thread, 20 to 46 on two, 73 on eight.
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        alone.install(compile_twice);
    }

    fn compile_twice() {
        let learnt = Arc::<Learnt>::default();
        let shown = instrument(&echo()).unwrap();
        engine::compiling(EngineKind::Fuel, Some(Arc::clone(&learnt) as _))
            .unwrap()
            .precompile_component(&shown)
            .unwrap();
        let mut file = Vec::new();
        learnt.write(&mut file).unwrap();
        let counted = Arc::new(Counted { known: Known::new(file), hits: 0.into(), misses: 0.into() });

        let image = picture(&echo(), &mut Zeroes).unwrap();
        let compile =
            |store| engine::compiling_image(EngineKind::Fuel, store).unwrap().precompile_component(&image).unwrap();
        let code = compile(Some(Arc::clone(&counted) as _));
        let (hits, misses) = (counted.hits.load(Ordering::Relaxed), counted.misses.load(Ordering::Relaxed));
        assert!(hits > 10 * misses, "{hits} functions were known, {misses} were not");
        assert!(code == compile(None), "it is the same without help");
    }

    #[test]
    fn what_hides_its_state_says_so_and_nothing_panics() {
        let own = r#"(component (type $t (resource (rep i32))) (core func (canon resource.new $t)))"#;
        let nested = "(component (component (core module)))";
        let twice = "(component (core module $m) (core instance (instantiate $m)) (core instance (instantiate $m)))";
        for (text, told) in [(own, "resources of its own"), (nested, "nested"), (twice, "at most once")] {
            let refused = instrument(&bulkhead_hostile::component_of(text)).expect_err(text);
            assert!(refused.contains(told), "{text}: {refused}");
        }
        let lacking = with_state(&echo(), HashMap::new()).unwrap_err();
        assert!(lacking.contains("not supported"), "{lacking}");
    }
}
