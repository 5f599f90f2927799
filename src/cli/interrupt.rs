//! Ctrl-C while a server is at work: the command ends, what the server has begun goes on, and that is said.

use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::json;

use super::failure::Exit;
use super::screen::Screen;

/// The text that is printed when the process is interrupted; none while no request is under way.
static UNDER_WAY: Mutex<Option<String>> = Mutex::new(None);

/// Says for as long as it lives what becomes of a request that a server has been sent.
pub(super) struct UnderWay(());

impl UnderWay {
    /// `what` goes on, and `bulkhead desc NAME` shows it.
    pub(super) fn say(what: &str, service: &str, screen: &Screen) -> Self {
        let text = format!("interrupted; {what} goes on: `bulkhead desc {service}` shows it");
        let text = match screen.is_json() {
            true => json!({ "error": { "exit": Exit::Interrupted as u8, "message": text } }).to_string(),
            false => format!("\n{text}"),
        };
        *UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        listen();
        Self(())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        *UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Waits for interrupts on a thread of its own. Where that cannot be had, they end the process as ever.
fn listen() {
    static LISTENS: OnceLock<()> = OnceLock::new();
    LISTENS.get_or_init(|| {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        // Made here: from now on interrupts are caught.
        let interrupt = {
            let _inside = runtime.enter();
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
        };
        let Ok(mut interrupt) = interrupt else { return };
        std::thread::spawn(move || {
            if runtime.block_on(interrupt.recv()).is_some() {
                if let Some(text) = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    eprintln!("{text}");
                }
                std::process::exit(Exit::Interrupted as i32);
            }
        });
    });
}
