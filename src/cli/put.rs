//! The command `upload`: sends a file to the server, for use in service files.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::client::AdminArgs;
use super::failure::{Exit, Failure};
use super::screen::Screen;
use super::upload;

#[derive(Args, Debug)]
#[command(after_help = "\
Prints a name for the file that service files can use as processor_path, from any machine. A file that no service names
is removed an hour after it was last uploaded or looked up.

Examples:
  bulkhead upload target/digits.wasm
  bulkhead create digits.json -Dprocessor_path=$(bulkhead upload target/digits.wasm)")]
pub(super) struct UploadArgs {
    /// The file to upload
    file: PathBuf,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn upload(args: &UploadArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let artifact = upload::Artifact::of_file(&args.file)?;
    let client = args.admin.client()?;
    upload::send(&client, &[&artifact], screen)?;
    let name = artifact.name();
    if screen.is_json() {
        screen.json(&json!({"processor_path": name, "sha256": artifact.sha256(), "bytes": artifact.bytes()}))?;
    } else {
        screen.line(name)?;
    }
    Ok(Exit::Ok)
}
