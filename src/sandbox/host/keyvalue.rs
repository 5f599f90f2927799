//! The interfaces of `wasi:keyvalue`: a guest's access to the store of its service.

use wasmtime::component::{HasSelf, Linker, Resource};

use super::HostState;
use crate::keyvalue::{KeyValueError, Store};
use crate::sandbox::bindings::keyvalue::wasi::keyvalue::{atomics, batch, store};
use crate::sandbox::lines::Level;

/// The names of the only store of a service.
const NAMES: [&str; 2] = ["default", ""];
/// Host work of a change, which waits for the disk, and of a read.
const OPERATION: usize = 4 << 10;

/// A guest's handle of its store.
#[expect(unreachable_pub, reason = "the generated bindings export it")]
pub struct Bucket;

/// The state of a value that a guest wants to replace.
#[expect(unreachable_pub, reason = "the generated bindings export it")]
pub struct Cas {
    key: String,
    /// The number of the last change that the guest has seen.
    version: u64,
}

type Answer<T, E = store::Error> = wasmtime::Result<Result<T, E>>;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    store::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    atomics::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    batch::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

impl HostState {
    /// Does an operation on the store of the service.
    async fn on_store<T>(
        &mut self,
        bytes: usize,
        operation: impl AsyncFnOnce(Store) -> Result<T, KeyValueError>,
    ) -> Result<T, store::Error> {
        self.work(OPERATION + bytes).await;
        let Some(keyvalue) = self.keyvalue.clone() else { return Err(store::Error::AccessDenied) };
        self.has_used_store = true;
        operation(keyvalue).await.map_err(|why| {
            self.lines.log(Level::Warn, &format!("an operation on the key-value store failed: {why}"));
            store::Error::Other(why.to_string())
        })
    }
}

impl store::Host for HostState {
    async fn open(&mut self, identifier: String) -> Answer<Resource<Bucket>> {
        self.work(identifier.len()).await;
        if self.keyvalue.is_none() {
            return Ok(Err(store::Error::AccessDenied));
        }
        if !NAMES.contains(&identifier.as_str()) {
            return Ok(Err(store::Error::NoSuchStore));
        }
        Ok(Ok(self.table.push(Bucket)?))
    }
}

impl store::HostBucket for HostState {
    async fn get(&mut self, _: Resource<Bucket>, key: String) -> Answer<Option<Vec<u8>>> {
        let found = self.on_store(key.len(), async |store| store.get(key).await).await.map(|found| found.value);
        self.work(found.iter().flatten().map(Vec::len).sum()).await;
        Ok(found)
    }

    async fn set(&mut self, _: Resource<Bucket>, key: String, value: Vec<u8>) -> Answer<()> {
        let bytes = key.len() + value.len();
        Ok(self.on_store(bytes, async |store| store.set(vec![(key, value)]).await).await)
    }

    async fn delete(&mut self, _: Resource<Bucket>, key: String) -> Answer<()> {
        Ok(self.on_store(key.len(), async |store| store.delete(vec![key]).await).await)
    }

    async fn exists(&mut self, _: Resource<Bucket>, key: String) -> Answer<bool> {
        let version = self.on_store(key.len(), async |store| store.version(key).await).await;
        Ok(version.map(|version| version > 0))
    }

    async fn list_keys(&mut self, _: Resource<Bucket>, cursor: Option<String>) -> Answer<store::KeyResponse> {
        let bytes = cursor.as_ref().map_or(0, String::len);
        let listed = self.on_store(bytes, async |store| store.list(cursor).await).await;
        let listed = listed.map(|listed| {
            let cursor = listed.keys.last().filter(|_| listed.has_more).cloned();
            store::KeyResponse { keys: listed.keys, cursor }
        });
        self.work(listed.iter().flat_map(|listed| &listed.keys).map(String::len).sum()).await;
        Ok(listed)
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for HostState {
    async fn increment(&mut self, _: Resource<Bucket>, key: String, delta: i64) -> Answer<i64> {
        Ok(self.on_store(key.len(), async |store| store.increment(key, delta).await).await)
    }

    async fn swap(&mut self, cas: Resource<Cas>, value: Vec<u8>) -> Answer<(), atomics::CasError> {
        let Cas { key, version } = self.table.delete(cas)?;
        let (again, bytes) = (key.clone(), key.len() + value.len());
        let swapped = self.on_store(bytes, async |store| store.swap(key, version, value).await).await;
        Ok(match swapped {
            Ok(true) => Ok(()),
            Ok(false) => match self.current_state(again).await {
                Ok(cas) => Err(atomics::CasError::CasFailed(self.table.push(cas)?)),
                Err(error) => Err(atomics::CasError::StoreError(error)),
            },
            Err(error) => Err(atomics::CasError::StoreError(error)),
        })
    }
}

impl HostState {
    async fn current_state(&mut self, key: String) -> Result<Cas, store::Error> {
        let asked = key.clone();
        let version = self.on_store(key.len(), async |store| store.version(asked).await).await?;
        Ok(Cas { key, version })
    }
}

impl atomics::HostCas for HostState {
    async fn new(&mut self, _: Resource<Bucket>, key: String) -> Answer<Resource<Cas>> {
        Ok(match self.current_state(key).await {
            Ok(cas) => Ok(self.table.push(cas)?),
            Err(error) => Err(error),
        })
    }

    /// Reads the value again: a swap afterwards compares with what the guest sees here.
    async fn current(&mut self, cas: Resource<Cas>) -> Answer<Option<Vec<u8>>> {
        let key = self.table.get(&cas)?.key.clone();
        let found = self.on_store(key.len(), async |store| store.get(key).await).await;
        let found = match found {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        self.table.get_mut(&cas)?.version = found.version;
        self.work(found.value.as_ref().map_or(0, Vec::len)).await;
        Ok(Ok(found.value))
    }

    async fn drop(&mut self, cas: Resource<Cas>) -> wasmtime::Result<()> {
        self.table.delete(cas)?;
        Ok(())
    }
}

impl batch::Host for HostState {
    async fn get_many(&mut self, _: Resource<Bucket>, keys: Vec<String>) -> Answer<Vec<(String, Option<Vec<u8>>)>> {
        let bytes = keys.iter().map(|key| OPERATION + key.len()).sum();
        let found = self.on_store(bytes, async |store| store.get_many(keys).await).await;
        self.work(found.iter().flatten().filter_map(|(_, value)| value.as_ref()).map(Vec::len).sum()).await;
        Ok(found)
    }

    async fn set_many(&mut self, _: Resource<Bucket>, entries: Vec<(String, Vec<u8>)>) -> Answer<()> {
        let bytes = entries.iter().map(|(key, value)| OPERATION + key.len() + value.len()).sum();
        Ok(self.on_store(bytes, async |store| store.set(entries).await).await)
    }

    async fn delete_many(&mut self, _: Resource<Bucket>, keys: Vec<String>) -> Answer<()> {
        let bytes = keys.iter().map(|key| OPERATION + key.len()).sum();
        Ok(self.on_store(bytes, async |store| store.delete(keys).await).await)
    }
}
