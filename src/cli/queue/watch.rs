//! `queue watch`: prints items as they come.

use std::thread::sleep;
use std::time::Duration;

use clap::Args;

use super::desk::{Desk, Side, may_pass};
use super::{add, print, tag};
use crate::cli::client::AdminArgs;
use crate::cli::failure::{Exit, Failure};
use crate::cli::screen::Screen;
use crate::config::ServiceName;

/// Most items that are delivered and not yet printed and committed.
const WINDOW: u64 = 16;
/// Items that are looked at in one request.
const LOOK: u64 = 100;
/// The longest wait of a request that looks at items.
const POLL: Duration = Duration::from_secs(30);
/// The pause before a broken watch is begun again, and the number of attempts that may fail in a row.
const PAUSE: Duration = Duration::from_secs(1);
const TRIES: u32 = 10;

#[derive(Args, Debug)]
#[command(after_help = "\
Each item is committed, and so removed, after it was printed. An item that was printed and not yet committed when the
command ends is delivered again. With --no-commit, items are only looked at: they stay in the queue, in the order of
their indexes, and a delivery is not counted.

The command ends with Ctrl-C, after N items with -n, or when the queue has ended. A broken connection is made again.

Examples:
  bulkhead queue watch resize --json
  bulkhead queue watch score --tag user=7 -n 10
  bulkhead queue watch score --input --no-commit")]
pub(super) struct WatchArgs {
    /// The service
    name: ServiceName,
    /// Watch the input queue, not the sink: this command is then a consumer beside the processor
    #[arg(long)]
    input: bool,
    /// Only items with this tag; may be repeated
    #[arg(short, long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// Only items with this index or a higher one
    #[arg(short, long, value_name = "INDEX", default_value_t = 0)]
    index: u64,
    /// End after N items
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Leave the items in the queue
    #[arg(long)]
    no_commit: bool,
    /// The token to send, instead of the service's own
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
    token: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

/// The part of a watch that is left to do.
struct Progress {
    /// The lowest index that was not looked at.
    from: u64,
    /// Items that are still to be printed; `None` for no limit.
    left: Option<u64>,
    /// Attempts since the last item that have failed.
    failed: u32,
}

pub(super) fn watch(args: &WatchArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let desk = Desk::open(&args.admin, &args.name, args.token.as_deref())?;
    let mut progress = Progress { from: args.index, left: args.count, failed: 0 };
    loop {
        let passed = match args.no_commit {
            true => args.look(&desk, &mut progress, screen),
            false => args.take(&desk, &mut progress, screen),
        };
        if progress.is_over() {
            return passed.map(|()| Exit::Ok);
        }
        match passed {
            Ok(()) if desk.has_ended(args.side())? => {
                screen.note(format_args!("the queue has ended"));
                return Ok(Exit::Ok);
            }
            Err(failure) if !may_pass(&failure) => return Err(failure),
            Err(failure) if progress.failed + 1 >= TRIES => return Err(failure),
            Err(failure) => {
                if progress.failed == 0 {
                    screen.note(format_args!("{failure}; trying again"));
                }
                progress.failed += 1;
                sleep(PAUSE);
            }
            Ok(()) => {}
        }
    }
}

impl Progress {
    fn printed(&mut self, index: u64) {
        self.from = index.saturating_add(1);
        self.left = self.left.map(|left| left - 1);
        self.failed = 0;
    }

    fn is_over(&self) -> bool {
        self.left == Some(0)
    }
}

impl WatchArgs {
    fn side(&self) -> Side {
        if self.input { Side::Input } else { Side::Sink }
    }

    /// The parameters that both kinds of watch have.
    fn query(&self, from: u64) -> String {
        let mut query = String::new();
        for (name, value) in &self.tags {
            add(&mut query, name, value);
        }
        add(&mut query, "_index_", &from.to_string());
        query
    }

    /// Prints the items of a stream and commits each, until the stream ends.
    fn take(&self, desk: &Desk, progress: &mut Progress, screen: &mut Screen) -> Result<(), Failure> {
        // Items that were delivered and given back have lower indexes than the last one, so each stream begins anew.
        let mut query = self.query(self.index);
        add(&mut query, "_watch_", "true");
        // The window has no more places than items that are still to be printed: further ones would be given back.
        add(&mut query, "_window_", &progress.left.map_or(WINDOW, |left| left.min(WINDOW)).to_string());
        let mut stream = desk.watch(self.side(), &query)?;
        loop {
            let next = stream.next().map_err(|error| Failure::Unreachable {
                what: format!("the watch of `{}` broke off: {error}", desk.name()),
                hint: None,
            });
            let Some(frame) = next? else { return Ok(()) };
            print(&frame, screen)?;
            desk.commit(self.side(), frame.index)?;
            progress.printed(frame.index);
            if progress.is_over() {
                return Ok(());
            }
        }
    }

    /// Prints the items from the last one on, without taking them.
    fn look(&self, desk: &Desk, progress: &mut Progress, screen: &mut Screen) -> Result<(), Failure> {
        let mut query = self.query(progress.from);
        add(&mut query, "_length_", &progress.left.map_or(LOOK, |left| left.min(LOOK)).to_string());
        add(&mut query, "_auto_delete_", "false");
        for frame in desk.get(self.side(), &query, POLL)? {
            print(&frame, screen)?;
            progress.printed(frame.index);
        }
        Ok(())
    }
}
