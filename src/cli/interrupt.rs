//! Ctrl-C while a server works on a request: the command ends and says that the server continues.

use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::json;

use super::failure::Exit;
use super::screen::Screen;

/// The text to print on an interrupt; `None` while no request is under way.
static UNDER_WAY: Mutex<Option<String>> = Mutex::new(None);

/// A guard. While it lives, an interrupt prints that the server continues the request.
pub(super) struct UnderWay(());

impl UnderWay {
    /// Makes a guard and sets the text of the interrupt. `what` is the name of the request, such as "the deploy".
    pub(super) fn say(what: &str, service: &str, screen: &Screen) -> Self {
        let text = format!(
            "interrupted; {what} goes on: `bulkhead desc {service}` shows it, and `bulkhead audit {service}` if it is refused"
        );
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

/// Waits for interrupts on a thread of its own. Without that thread, an interrupt ends the process as usual.
fn listen() {
    static LISTENS: OnceLock<()> = OnceLock::new();
    LISTENS.get_or_init(|| {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        // Created before the thread starts, so that interrupts are caught from now on.
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
