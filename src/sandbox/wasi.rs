//! A guest's WASI: clocks, randomness, its environment, captured output and the model directory. No other files, no
//! sockets, no input.
//!
//! It is created when the guest first uses it. Most guests that start from an image never do: they have read their
//! environment before. If there is a model directory, it is opened at once, because a guest that does not find its
//! model may answer wrongly.

use std::path::PathBuf;
use std::sync::Arc;

use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder};

use super::clock::SharedClock;
use super::lines::{Lines, Source};
use super::settings::Settings;

/// The path at which guests find their model.
pub(super) const MODEL_DIR: &str = "/model";
/// Most bytes of randomness per call.
const MAX_RANDOM: u64 = 64 << 10;

pub(super) struct Wasi {
    settings: Arc<Settings>,
    context: Option<Box<WasiCtx>>,
}

impl Wasi {
    /// Creates the WASI of one guest.
    ///
    /// # Errors
    /// If the model directory cannot be opened.
    pub(super) fn new(settings: Arc<Settings>, lines: &Lines) -> wasmtime::Result<Self> {
        let with_model = |dir: &PathBuf| {
            let mut wasi = without_model(&settings, lines);
            wasi.preopened_dir(dir, MODEL_DIR, FsPerms::ReadOnly)?;
            Ok::<_, wasmtime::Error>(Box::new(wasi.build()))
        };
        let context = settings.model_dir.as_ref().map(with_model).transpose()?;
        Ok(Self { settings, context })
    }

    pub(super) fn envs(&self) -> &[(String, String)] {
        &self.settings.envs
    }

    pub(super) fn context(&mut self, lines: &Lines) -> &mut WasiCtx {
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
