//! The command line: the commands, their options, and the dispatch to the code that runs them.
//!
//! Each command has a file with its options and a function that takes the options and a [`Screen`] and returns an
//! [`Exit`]. Commands talk to a server only through [`client`]. [`upload`] finds and hashes the files to upload. Apart
//! from [`test`], no command knows how a service is run.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

mod audit;
mod bench;
mod build;
mod client;
mod completion;
mod config;
mod deploy;
mod description;
mod failure;
mod gateway;
mod group;
mod instances;
mod interrupt;
mod invoke;
mod kind;
mod listener;
mod man;
mod mirror;
mod new;
mod payload;
mod problem;
mod put;
mod queue;
mod screen;
mod serve;
mod service_file;
mod services;
pub mod test;
mod time;
mod token;
mod told;
pub mod upload;
mod usage;
mod versions;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

use failure::{Exit, Failure};
use screen::{Screen, ScreenArgs};

use crate::config::{gateway_schema, json_schema};
use crate::sandbox::{self, CompileArgs};

const HELP: &str = "\
Exit codes:
    0  done; for `bench` with --fail-above, the share of failed requests is not above it
    1  failed on this machine, as when a file cannot be read; or the server or the processor failed (5xx)
    2  wrong usage: the command line or a service file has mistakes, or the service file names a missing file
    3  the server, the service or the processor refused (4xx)
    4  the server cannot be reached, or gives no answer
    5  not found (404): no such service, version, instance or path
  130  interrupted (Ctrl-C); the server continues the work that it has begun

A first tour:
  bulkhead serve                                in one terminal
  bulkhead new word-count && cd word-count      in another
  bulkhead build
  bulkhead create word-count.json
  bulkhead invoke word-count -d 'one two three'";

const DESC: &str = "\
Examples:
  bulkhead desc digits
  bulkhead desc digits --json | jq -r .token";

const STOP: &str = "\
Running requests get metadata.eas.termination_grace_period to finish. The service's versions, files and tokens are kept.

Examples:
  bulkhead stop digits";

const START: &str = "\
Examples:
  bulkhead start digits";

const RESTART: &str = "\
New instances replace all instances at once. The old ones answer until the new ones are ready, so the host needs room for
the guests of both. `bulkhead dw` replaces single instances, one after the other.

Examples:
  bulkhead restart digits";

const SCHEMA: &str = "\
Examples:
  bulkhead schema > service.schema.json
  bulkhead schema --gateway > gateway.schema.json
  bulkhead schema --api > openapi.json";

const COMPLETIONS: &str = "\
The script also completes the names of services. It asks the server that a command would use; without an answer within
half a second there are none. The script calls this program: write it anew after an upgrade.

Examples:
  source <(bulkhead completions bash)
  bulkhead completions bash > ~/.local/share/bash-completion/completions/bulkhead
  bulkhead completions zsh > ~/.zfunc/_bulkhead";

/// Serves WebAssembly processors over HTTP, each in its own watertight compartment
#[derive(Parser, Debug)]
#[command(name = "bulkhead", version, after_help = HELP, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    screen: ScreenArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the server
    Serve(serve::ServeArgs),
    /// Run a gateway: forward requests to servers
    Gateway(gateway::GatewayArgs),
    /// Create a service from a service file
    Create(deploy::CreateArgs),
    /// Change a service; a new version takes over without a gap
    Modify(deploy::ModifyArgs),
    /// List the services
    #[command(visible_alias = "ls")]
    List(services::ListArgs),
    /// Describe a service: state, address, token, instances, service file
    #[command(after_help = DESC)]
    Desc(services::ServiceArgs),
    /// Show a service's tokens, rotate the current one, or retire the previous one
    Token(token::TokenArgs),
    /// List the versions of a service, or make an earlier one current again
    Version(versions::VersionArgs),
    /// Change a canary's share of the requests, make it current, or drop it; or change a service's weight in its group
    Release(versions::ReleaseArgs),
    /// Copy a service's requests to another service, or stop copying
    Mirror(mirror::MirrorArgs),
    /// Use and manage the queues of an asynchronous service
    Queue(queue::QueueArgs),
    /// Stop a service; it is kept, and its requests get 503
    #[command(after_help = STOP)]
    Stop(services::ServiceArgs),
    /// Start a stopped service
    #[command(after_help = START)]
    Start(services::ServiceArgs),
    /// Replace every instance of a service, without a gap
    #[command(after_help = RESTART)]
    Restart(services::ServiceArgs),
    /// Show the instances of a service
    #[command(name = "workers", visible_aliases = ["w", "showworkers"])]
    Workers(instances::WorkersArgs),
    /// Replace some instances of a service, without a gap
    #[command(name = "deleteworkers", visible_alias = "dw")]
    DeleteWorkers(instances::DeleteWorkersArgs),
    /// Delete a service
    Delete(services::DeleteArgs),
    /// Show the audit log: changes, their authors and times
    Audit(audit::AuditArgs),
    /// Upload a file for use in service files
    Upload(put::UploadArgs),
    /// Send one request to a service
    Invoke(invoke::InvokeArgs),
    /// Send load to a service, or to any URL, and measure the answers
    Bench(bench::BenchArgs),
    /// Create a processor project
    New(new::NewArgs),
    /// Compile a processor project to a component
    Build(build::BuildArgs),
    /// Run a service file once on this machine, without a server
    Test(test::TestArgs),
    /// Store the server's address and admin token for the other commands
    Config(config::ConfigArgs),
    /// Print the JSON Schema of the service file or of the gateway's file, or the OpenAPI document of the admin API
    #[command(after_help = SCHEMA)]
    Schema {
        /// The schema of the file that `bulkhead gateway --config` reads
        #[arg(long, conflicts_with = "api")]
        gateway: bool,
        /// The OpenAPI document, which a server also has at `/openapi.json`
        #[arg(long)]
        api: bool,
    },
    /// Print completions for a shell
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write the pages of all commands
    Man(man::ManArgs),
    /// Compile an upload; the server runs this in a child process, which has limits and whose crash does no harm
    #[command(hide = true)]
    Compile {
        #[arg(long)]
        engine: String,
        #[arg(long)]
        input: PathBuf,
        #[arg(long)]
        output: PathBuf,
        #[arg(long)]
        parent: Option<i32>,
        #[arg(long)]
        state: Option<PathBuf>,
        #[arg(long)]
        functions: Option<PathBuf>,
    },
}

impl Cli {
    /// Parses the words of a command line, of which the first is the program's name.
    fn read(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        let mut definition = Self::definition();
        let mut matches = definition.try_get_matches_from_mut(words)?;
        Self::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut definition))
    }

    /// The definition of the command line for this process. An environment variable that is set but empty counts as not
    /// set: in many files of variables, an empty value is the only way to unset one.
    fn definition() -> clap::Command {
        without_empty_variables(Self::command())
    }
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |arg: &clap::Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    let command = command.mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg });
    command.mut_subcommands(without_empty_variables)
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    if let Some(exit) = completion::answer() {
        return exit;
    }
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return (usage::explain(error) as u8).into(),
    };
    // Before anything else is set up, so that the child process stays small.
    if let Command::Compile { engine, input, output, parent, state, functions } = cli.command {
        return sandbox::compile_child(&CompileArgs { input, output, engine, parent, state, functions });
    }
    let mut screen = Screen::new(cli.screen);
    (run(cli.command, &mut screen) as u8).into()
}

fn run(command: Command, screen: &mut Screen) -> Exit {
    match dispatch(command, screen) {
        Ok(exit) => exit,
        Err(failure) => {
            if failure.exit() != Exit::Ok {
                screen.failure(&failure);
            }
            failure.exit()
        }
    }
}

fn dispatch(command: Command, screen: &mut Screen) -> Result<Exit, Failure> {
    match command {
        Command::Serve(args) => crate::serve::run(args.options()?)?,
        Command::Gateway(args) => return gateway::gateway(&args, screen),
        Command::Create(args) => return deploy::create(&args, screen),
        Command::Modify(args) => return deploy::modify(&args, screen),
        Command::List(args) => return services::list(&args, screen),
        Command::Desc(args) => return services::desc(&args, screen),
        Command::Token(args) => return token::token(&args, screen),
        Command::Version(args) => return versions::version(&args, screen),
        Command::Release(args) => return versions::release(&args, screen),
        Command::Mirror(args) => return mirror::mirror(&args, screen),
        Command::Queue(args) => return queue::queue(&args, screen),
        Command::Stop(args) => return services::stop(&args, screen),
        Command::Start(args) => return services::start(&args, screen),
        Command::Restart(args) => return instances::restart(&args, screen),
        Command::Workers(args) => return instances::workers(&args, screen),
        Command::DeleteWorkers(args) => return instances::delete_workers(&args, screen),
        Command::Audit(args) => return audit::audit(&args, screen),
        Command::Upload(args) => return put::upload(&args, screen),
        Command::Delete(args) => return services::delete(&args, screen),
        Command::Invoke(args) => return invoke::invoke(&args, screen),
        Command::Bench(args) => return bench::bench(&args, screen),
        Command::New(args) => return new::new(&args, screen),
        Command::Build(args) => return build::build(&args, screen),
        Command::Test(args) => return test::test(&args, screen),
        Command::Config(args) => return config::config(&args, screen),
        Command::Schema { api: true, .. } => screen.line(crate::admin::openapi().trim_end())?,
        Command::Schema { gateway: true, .. } => screen.line(format_args!("{:#}", gateway_schema()))?,
        Command::Schema { .. } => screen.line(format_args!("{:#}", json_schema()))?,
        Command::Completions { shell } => {
            let script = completion::script(shell).map_err(Failure::Output)?;
            screen.bytes(&script)?;
        }
        Command::Man(args) => return man::man(&args, screen),
        Command::Compile { .. } => return Err(Failure::Usage("`compile` is for the server's own use".to_owned())),
    }
    Ok(Exit::Ok)
}
