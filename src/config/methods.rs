//! Which HTTP methods a service answers. Names only: this module has never heard of an HTTP library.

/// The methods that can be switched on, in the order in which an `Allow` header lists them.
pub(super) const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// A set of methods, never empty. One byte, because it is looked at for every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Methods(u8);

impl Methods {
    /// Whether the service answers this method; names are compared exactly, as HTTP has it.
    pub fn accepts(self, method: &str) -> bool {
        METHODS.iter().position(|known| *known == method).is_some_and(|at| self.0 & (1 << at) != 0)
    }

    pub fn names(self) -> impl Iterator<Item = &'static str> {
        METHODS.iter().copied().filter(move |name| self.accepts(name))
    }

    /// From names that were checked against `METHODS`.
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let bits =
            names.filter_map(|name| METHODS.iter().position(|known| *known == name)).fold(0, |bits, at| bits | 1 << at);
        assert_ne!(bits, 0, "a service answers at least one method");
        Self(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_answers_for_its_members_in_canonical_order() {
        let methods = Methods::of(["POST", "GET"].into_iter());
        assert!(methods.accepts("GET") && methods.accepts("POST"));
        assert!(!methods.accepts("get") && !methods.accepts("PUT") && !methods.accepts("BREW"));
        assert_eq!(methods.names().collect::<Vec<_>>(), ["GET", "POST"]);
    }
}
