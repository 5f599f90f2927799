//! The sets of headers of `wasi:http`. Functions that copy them are replaced by functions that count their work.

use wasmtime::component::Resource;
use wasmtime_wasi_http::FieldMap;

use super::{HOST_CALL, HostState};

/// Host work of copying one entry.
const ENTRY: usize = 64;

/// Replaces the functions of `$interface`, a name and a version. `$types` has its bindings, and `$entries` returns all
/// entries under the name `$name`. The versions of WASI have the same functions with types of their own.
macro_rules! link_fields {
    ($linker:expr, $interface:expr, $types:ident, $entries:ident, $name:literal) => {{
        use $types::HostFields;
        let (linker, interface) = ($linker, $interface);
        replace(linker, interface, $name, |mut host, (fields,): (Fields,)| {
            Box::new(async move {
                let state = host.data_mut();
                let entries = HostFields::$entries(&mut state.http(), fields)?;
                state.work(size_of_entries(&entries)).await;
                Ok((entries,))
            })
        })?;
        replace(linker, interface, "[method]fields.get", |mut host, (fields, name): (Fields, String)| {
            Box::new(async move {
                let state = host.data_mut();
                let values = HostFields::get(&mut state.http(), fields, name)?;
                state.work(size_of_values(&values)).await;
                Ok((values,))
            })
        })?;
        replace(linker, interface, "[static]fields.from-list", |mut host, (entries,): (Entries,)| {
            Box::new(async move {
                let state = host.data_mut();
                state.work(size_of_entries(&entries)).await;
                let mut view = state.http();
                let made = HostFields::from_list(&mut view, entries);
                Ok((told!(view, $types, made),))
            })
        })?;
        // A set that is shared with a clone is copied before it is changed.
        replace(
            linker,
            interface,
            "[method]fields.append",
            |mut host, (fields, name, value): (Fields, String, Vec<u8>)| {
                Box::new(async move {
                    let state = host.data_mut();
                    state.work(state.size_of(&fields) + value.len()).await;
                    let mut view = state.http();
                    let appended = HostFields::append(&mut view, fields, name, value);
                    Ok((told!(view, $types, appended),))
                })
            },
        )?;
        replace(
            linker,
            interface,
            "[method]fields.set",
            |mut host, (fields, name, values): (Fields, String, Vec<Vec<u8>>)| {
                Box::new(async move {
                    let state = host.data_mut();
                    state.work(state.size_of(&fields) + size_of_values(&values)).await;
                    let mut view = state.http();
                    let set = HostFields::set(&mut view, fields, name, values);
                    Ok((told!(view, $types, set),))
                })
            },
        )?;
        replace(linker, interface, "[method]fields.delete", |mut host, (fields, name): (Fields, String)| {
            Box::new(async move {
                let state = host.data_mut();
                state.work(state.size_of(&fields)).await;
                let mut view = state.http();
                let deleted = HostFields::delete(&mut view, fields, name);
                Ok((told!(view, $types, deleted),))
            })
        })?;
    }};
}

/// Separates the error that the guest gets from one that ends it.
macro_rules! told {
    ($view:ident, $types:ident, $result:ident) => {
        match $result {
            Ok(made) => Ok(made),
            Err(error) => Err($types::Host::convert_header_error(&mut $view, error)?),
        }
    };
}

pub(super) use {link_fields, told};

pub(super) type Fields = Resource<FieldMap>;
pub(super) type Entries = Vec<(String, Vec<u8>)>;

pub(super) fn size_of_entries(entries: &Entries) -> usize {
    entries.iter().map(|(name, value)| 2 * HOST_CALL + name.len() + value.len()).sum()
}

pub(super) fn size_of_values(values: &[Vec<u8>]) -> usize {
    values.iter().map(|value| HOST_CALL + value.len()).sum()
}

impl HostState {
    /// Returns the host work of copying a set of headers.
    pub(super) fn size_of(&self, fields: &Fields) -> usize {
        self.table.get(fields).map_or(0, |fields| fields.len() * ENTRY)
    }
}
