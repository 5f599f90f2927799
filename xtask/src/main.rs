//! Set-up, demo, test, release, chaos, bench and documentation of this repository, run as `cargo xtask …`. Each command
//! is one file that can be read alone. `cargo` builds, `host` runs the built host, `http` and `metrics` observe it from
//! outside.

mod args;
mod bench;
mod cargo;
mod chaos;
mod demo;
mod docs;
mod figures;
mod host;
mod http;
mod metrics;
mod profiled;
mod release;
mod services;
mod setup;
mod stage;
mod test;
mod toolchains;

use std::process::ExitCode;

use args::Task;

fn main() -> ExitCode {
    let task = match args::parse(std::env::args().skip(1)) {
        Ok(task) => task,
        Err(mistake) => {
            eprintln!("error: {mistake}\n\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    let done = match task {
        Task::Help => {
            println!("{}", args::USAGE);
            Ok(true)
        }
        Task::Setup => setup::run(),
        Task::Guests => cargo::guests().map(|_| true),
        Task::Demo { once } => demo::run(once),
        Task::Test { args } => test::run(&args),
        Task::Chaos { hours, filter } => chaos::run(hours, filter.as_deref()),
        Task::Release => release::run(),
        Task::Docs { check } => docs::run(check),
        Task::Bench { quick, plain, queues } => bench::run(quick, plain, queues),
        Task::BareServer => bench::bare_server(),
        Task::Measure { host, quick, plain, queues } => bench::measure(&host, quick, plain, queues),
        Task::Train { host } => bench::train(&host),
        Task::TrainBare => bench::train_bare(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
