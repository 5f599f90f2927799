//! Proposals of WASI that are offered beside WASI 0.2: `wasi:logging` and `wasi:config`.

use wasmtime::component::{HasSelf, Linker};

use super::HostState;
use crate::sandbox::bindings::config::wasi::config::store;
use crate::sandbox::bindings::logging::wasi::logging::logging;
use crate::sandbox::lines::Level;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    logging::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    store::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

impl logging::Host for HostState {
    async fn log(&mut self, level: logging::Level, context: String, message: String) {
        let level = match level {
            logging::Level::Critical | logging::Level::Error => Level::Error,
            logging::Level::Warn => Level::Warn,
            logging::Level::Info => Level::Info,
            logging::Level::Debug => Level::Debug,
            logging::Level::Trace => Level::Trace,
        };
        if context.is_empty() {
            self.lines.log(level, &message);
        } else {
            self.lines.log(level, &format!("{context}: {message}"));
        }
        self.work(context.len() + message.len()).await;
    }
}

/// The values are the environment variables of the service file.
impl store::Host for HostState {
    async fn get(&mut self, key: String) -> Result<Option<String>, store::Error> {
        let value = self.envs().iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone());
        self.work(key.len() + value.as_ref().map_or(0, String::len)).await;
        Ok(value)
    }

    async fn get_all(&mut self) -> Result<Vec<(String, String)>, store::Error> {
        let all = self.envs().to_vec();
        self.work(all.iter().map(|(name, value)| name.len() + value.len()).sum()).await;
        Ok(all)
    }
}
