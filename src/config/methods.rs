//! The HTTP methods that a service answers. This module knows only their names and uses no HTTP library.

/// The methods that can be switched on, in the order in which an `Allow` header lists them.
pub(super) const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// A set of methods, never empty. It is one byte, because it is read for every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Methods(u8);

impl Methods {
    /// True if the service answers this method. Names are case-sensitive, as in HTTP. A service that answers GET also
    /// answers HEAD (RFC 9110 §9.1).
    pub fn accepts(self, method: &str) -> bool {
        self.lists(method) || (method == "HEAD" && self.lists("GET"))
    }

    /// True if a processor is called with GET for this method: for HEAD, unless the service lists HEAD itself.
    pub fn takes_for_get(self, method: &str) -> bool {
        method == "HEAD" && !self.lists("HEAD")
    }

    fn lists(self, method: &str) -> bool {
        METHODS.iter().position(|known| *known == method).is_some_and(|at| self.0 & (1 << at) != 0)
    }

    /// All methods that are answered.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        METHODS.iter().copied().filter(move |name| self.accepts(name))
    }

    /// Makes a set from names that were checked against `METHODS`.
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
        assert_eq!(methods.names().collect::<Vec<_>>(), ["GET", "HEAD", "POST"]);
    }

    #[test]
    fn head_is_answered_wherever_get_is_and_the_processor_is_told_of_it_where_it_is_listed() {
        for (listed, accepts, takes_for_get) in [
            (&["GET"][..], true, true),
            (&["GET", "HEAD"], true, false),
            (&["HEAD"], true, false),
            (&["POST"], false, true),
        ] {
            let methods = Methods::of(listed.iter().copied());
            assert_eq!(
                (methods.accepts("HEAD"), methods.takes_for_get("HEAD")),
                (accepts, takes_for_get),
                "{listed:?}"
            );
            assert!(!methods.takes_for_get("GET") && !methods.takes_for_get("POST"));
        }
    }
}
