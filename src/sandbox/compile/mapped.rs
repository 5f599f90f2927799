//! Machine code that is already mapped, so that services of the same processor share it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use wasmtime::component::Component;

/// The mapped components by file, for as long as a program uses them.
#[derive(Default)]
pub(super) struct Mapped(Mutex<HashMap<PathBuf, Weak<Component>>>);

impl Mapped {
    pub(super) fn find(&self, code: &Path) -> Option<Arc<Component>> {
        self.all().get(code)?.upgrade()
    }

    /// Records a mapped component, and removes those that are no longer used.
    pub(super) fn note(&self, code: &Path, component: Component) -> Arc<Component> {
        let component = Arc::new(component);
        let mut all = self.all();
        all.retain(|_, known| known.strong_count() > 0);
        all.insert(code.to_owned(), Arc::downgrade(&component));
        component
    }

    /// Forgets the component of a file whose contents change.
    pub(super) fn forget(&self, code: &Path) {
        self.all().remove(code);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<PathBuf, Weak<Component>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::Engine;

    use super::*;

    #[test]
    fn code_is_shared_while_somebody_uses_it_and_its_file_is_the_same() {
        let empty = || Component::new(&Engine::default(), b"\0asm\x0d\0\x01\0").unwrap();
        let (mapped, file) = (Mapped::default(), Path::new("a.cwasm"));
        assert!(mapped.find(file).is_none());
        let first = mapped.note(file, empty());
        assert!(Arc::ptr_eq(&first, &mapped.find(file).unwrap()));
        assert!(mapped.find(Path::new("b.cwasm")).is_none());
        mapped.forget(file);
        assert!(mapped.find(file).is_none(), "another file has taken its place");
        let second = mapped.note(file, empty());
        drop(second);
        assert!(mapped.find(file).is_none(), "nobody uses it any more");
        mapped.note(Path::new("b.cwasm"), empty());
        assert_eq!(mapped.all().len(), 1, "nor is it remembered");
    }
}
