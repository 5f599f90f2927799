//! Deploys services with the host's own command line, which uses the admin API.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::host::Host;
use crate::http;

/// A deployed service and the data to call it.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) token: String,
    pub(crate) url: String,
}

impl Service {
    /// Makes the bytes of a request.
    pub(crate) fn request(&self, body: &[u8]) -> Vec<u8> {
        http::request("POST", &self.path(), &self.token, body)
    }

    pub(crate) fn path(&self) -> String {
        format!("/api/predict/{}", self.name)
    }
}

/// Runs `bulkhead create FILE`, which returns when the service is ready.
pub(crate) fn create(host: &Host, file: &Path) -> Result<Service> {
    let output = command(host).arg("create").arg(file).arg("--json").output()?;
    let answer = checked(output, &format!("create {}", file.display()))?;
    let answer: Value = serde_json::from_slice(&answer).context("`bulkhead create --json` did not print JSON")?;
    let field = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    Ok(Service { name: field("name"), token: field("token"), url: field("url") })
}

/// Writes a service file and returns its path.
#[cfg(feature = "bench")]
pub(crate) fn write(directory: &Path, service: &Value) -> Result<std::path::PathBuf> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let name = service["name"].as_str().context("a service without a name")?;
    let file = directory.join(name).with_extension("json");
    std::fs::write(&file, service.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// Runs `bulkhead stop NAME`.
pub(crate) fn stop(host: &Host, service: &Service) -> Result<()> {
    let output = command(host).args(["stop", &service.name]).output()?;
    checked(output, &format!("stop {}", service.name)).map(drop)
}

/// Runs `bulkhead start NAME`, which returns when the service is ready again.
#[cfg(feature = "bench")]
pub(crate) fn start(host: &Host, service: &Service) -> Result<()> {
    let output = command(host).args(["start", &service.name]).output()?;
    checked(output, &format!("start {}", service.name)).map(drop)
}

fn command(host: &Host) -> Command {
    let mut command = Command::new(&host.binary);
    command.env("BULKHEAD_ADMIN", format!("http://{}", host.admin)).env("BULKHEAD_ADMIN_TOKEN", &host.admin_token);
    command
}

fn checked(output: Output, what: &str) -> Result<Vec<u8>> {
    if !output.status.success() {
        bail!("`bulkhead {what}` failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}
