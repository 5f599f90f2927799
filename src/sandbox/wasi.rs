//! A guest's WASI: clocks, randomness, its environment, captured output and the model directory. No other files, no
//! sockets, no input.
//!
//! It is made when the guest first asks for it. A guest that begins from an image has read its model and its environment
//! before, and most never ask: for a fresh one that is a tenth of its making, for a resting one a kilobyte.

use std::sync::Arc;

use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder};

use super::clock::SharedClock;
use super::lines::{Lines, Source};
use super::program::Settings;

/// Where guests find their model.
pub(super) const MODEL_DIR: &str = "/model";
/// Bytes of randomness one call may ask for.
const MAX_RANDOM: u64 = 64 << 10;

pub(super) struct Wasi {
    settings: Arc<Settings>,
    context: Option<Box<WasiCtx>>,
}

impl Wasi {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self { settings, context: None }
    }

    /// Makes it now, for a guest that is about to ask.
    ///
    /// # Errors
    /// When the model directory cannot be opened.
    pub(super) fn open(&mut self, lines: &Lines) -> wasmtime::Result<()> {
        let mut wasi = without_model(&self.settings, lines);
        if let Some(dir) = &self.settings.model_dir {
            wasi.preopened_dir(dir, MODEL_DIR, FsPerms::ReadOnly)?;
        }
        self.context = Some(Box::new(wasi.build()));
        Ok(())
    }

    /// Where the model directory cannot be opened any more, the guest finds none.
    pub(super) fn context(&mut self, lines: &Lines) -> &mut WasiCtx {
        if self.context.is_none()
            && let Err(error) = self.open(lines)
        {
            tracing::error!(%error, dir = ?self.settings.model_dir, "a guest finds no model directory");
        }
        self.context.get_or_insert_with(|| Box::new(without_model(&self.settings, lines).build()))
    }
}

fn without_model(settings: &Settings, lines: &Lines) -> WasiCtxBuilder {
    let mut wasi = WasiCtxBuilder::new();
    wasi.envs(&settings.envs)
        .monotonic_clock(SharedClock)
        .stdout(lines.stream(Source::Stdout))
        .stderr(lines.stream(Source::Stderr))
        .max_random_size(MAX_RANDOM)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    wasi
}
