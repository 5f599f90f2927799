//! Brings all spellings of a file into one form: nested values, each in the canonical spelling of its kind.
//!
//! `{"metadata": {"rpc.keepalive": "5000"}}` and `{"metadata.rpc": {"keepalive": 5000.0}}` have the same form. A path
//! is joined with dots before it is looked up. So no spelling needs a rule of its own, and two spellings of a key are
//! kept at the same place.

use serde_json::{Map, Value};

use super::{
    keys::{self, KEYS, Key, KeyMatch, Table, Use},
    kind::Kind,
    mistakes::Mistakes,
};

/// The deepest nesting of a value. Reading JSON back stops at 128, and the file is stored inside other documents.
const DEEPEST: usize = 64;
/// Most parts of a flattened key inside a key that takes any value.
const MOST_PARTS: usize = 16;

/// The meaning of a `null`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Null {
    /// In a file: the key is not given.
    Absent,
    /// In a patch: the key is removed.
    Removes,
}

/// The given values, nested and in canonical form, without wrong ones. In a patch, null stands for a key that is
/// removed.
#[derive(Clone)]
pub(super) struct Given {
    table: Table,
    tree: Map<String, Value>,
}

impl Given {
    /// Reads a service file, or a patch of one.
    pub(super) fn read(value: &Value, null: Null, mistakes: &mut Mistakes) -> Self {
        Self::of(KEYS, value, null, "{\"name\": …, \"processor_path\": …}", mistakes)
    }

    /// Reads an object with the keys of `table`. `such_as` is an example for the error.
    pub(super) fn of(table: Table, value: &Value, null: Null, such_as: &str, mistakes: &mut Mistakes) -> Self {
        let mut reader = Reader { table, null, tree: Map::new(), mistakes };
        match value {
            Value::Object(object) => reader.walk("", object),
            other => reader
                .mistakes
                .add("", format!("found {}, expected an object such as {such_as}", Kind::Any.shown(other))),
        }
        for (path, value) in &reader.tree {
            if depth(value) > DEEPEST {
                reader.mistakes.add(path, format!("nested more than {DEEPEST} deep"));
            }
        }
        Self { table, tree: reader.tree }
    }

    pub(super) fn table(&self) -> Table {
        self.table
    }

    pub(super) fn at(&self, path: &str) -> Option<&Value> {
        let mut parts = path.split('.');
        let first = self.tree.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    }

    /// The given paths whose keys have this use, in the order of the table.
    pub(super) fn keys(&self, usage: Use) -> Vec<String> {
        self.table
            .iter()
            .filter(|key| key.usage == usage && self.at(key.path).is_some())
            .map(|key| key.path.to_owned())
            .collect()
    }

    pub(super) fn merged(&self, patch: &Self) -> Value {
        let mut merged = self.tree.clone();
        merge(&mut merged, &patch.tree);
        Value::Object(merged)
    }

    pub(super) fn to_value(&self) -> Value {
        Value::Object(self.tree.clone())
    }
}

/// The path of a key inside an object. An empty key is shown as `""`.
pub(super) fn join(prefix: &str, key: &str) -> String {
    match (prefix, key) {
        ("", "") => "\"\"".to_owned(),
        ("", key) => key.to_owned(),
        (prefix, key) => format!("{prefix}.{key}"),
    }
}

struct Reader<'m> {
    table: Table,
    null: Null,
    tree: Map<String, Value>,
    mistakes: &'m mut Mistakes,
}

impl Reader<'_> {
    fn walk(&mut self, prefix: &str, object: &Map<String, Value>) {
        for (key, value) in object {
            let path = join(prefix, key);
            match keys::find_in(self.table, &path) {
                KeyMatch::Unknown => self.unknown(&path),
                _ if value.is_null() && self.null == Null::Absent => {}
                KeyMatch::Key(key) => self.key(key, &path, value),
                KeyMatch::Section => self.section(&path, value),
                KeyMatch::Inside(key, rest) => self.inside(key, rest, &path, value),
            }
        }
    }

    fn key(&mut self, key: &'static Key, path: &str, value: &Value) {
        let read = if value.is_null() { Some(Value::Null) } else { key.kind.read(path, value, self.mistakes) };
        if let Some(read) = read {
            self.keep(key, path, key.kept_at(), read);
        }
    }

    fn section(&mut self, path: &str, value: &Value) {
        match value {
            Value::Object(object) => self.walk(path, object),
            Value::Null => {
                let parts: Vec<&str> = path.split('.').collect();
                if place(&mut self.tree, &parts, Value::Null).is_err() {
                    self.mistakes.add(path, "removed, although keys in it are given");
                }
            }
            other => self.mistakes.add(path, format!("found {}, expected an object", Kind::Any.shown(other))),
        }
    }

    /// Keeps a key inside a key that takes any value, such as `model_config.threshold`. It is nested, and its value is
    /// not checked.
    fn inside(&mut self, key: &'static Key, rest: &str, path: &str, value: &Value) {
        let parts = rest.split('.').count();
        if parts > MOST_PARTS || rest.split('.').any(str::is_empty) {
            return self.unknown(path);
        }
        self.keep(key, path, path, value.clone());
    }

    fn keep(&mut self, key: &Key, path: &str, kept_at: &str, value: Value) {
        let parts: Vec<&str> = kept_at.split('.').collect();
        let Err(conflict) = place(&mut self.tree, &parts, value) else { return };
        let both = match key.kind {
            // Values of these kinds may be secrets, or too long to compare.
            Kind::Token | Kind::Variables | Kind::Any => String::new(),
            kind => format!(": {} and {}", kind.shown(&conflict.0), kind.shown(&conflict.1)),
        };
        let same = key.same_as.map(|same| format!("the same key as {same}, ")).unwrap_or_default();
        self.mistakes.add(path, format!("{same}given twice with different values{both}"));
    }

    fn unknown(&mut self, path: &str) {
        if self.mistakes.is_full() {
            return;
        }
        let message = keys::unknown(self.table, path);
        self.mistakes.add(path, message);
    }
}

/// Puts a value at a path. If there is one already, two objects are joined, and two equal values are accepted. Two
/// other values are returned as the error.
fn place(tree: &mut Map<String, Value>, parts: &[&str], value: Value) -> Result<(), Box<(Value, Value)>> {
    let (part, rest) = parts.split_first().expect("a path has a part");
    let value = if rest.is_empty() {
        value
    } else {
        let mut inner = Map::new();
        place(&mut inner, rest, value)?;
        Value::Object(inner)
    };
    match (tree.get_mut(*part), value) {
        (None, value) => {
            tree.insert((*part).to_owned(), value);
            Ok(())
        }
        (Some(Value::Object(present)), Value::Object(new)) => {
            new.into_iter().try_for_each(|(name, value)| place(present, &[name.as_str()], value))
        }
        (Some(present), value) if *present == value => Ok(()),
        (Some(present), value) => Err(Box::new((present.clone(), value))),
    }
}

/// Applies a JSON merge patch (RFC 7396).
fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                target.shift_remove(name);
            }
            Value::Object(patch) => {
                let inner = target.entry(name).or_insert(Value::Null);
                if !inner.is_object() {
                    *inner = Value::Object(Map::new());
                }
                merge(inner.as_object_mut().expect("made one above"), patch);
            }
            plain => {
                target.insert(name.clone(), plain.clone());
            }
        }
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(object) => 1 + object.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
