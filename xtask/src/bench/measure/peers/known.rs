//! The peers, their versions, and the settings that suit each best.

use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::Result;

use super::{Peer, free_port};
use crate::bench::guests;

const WASMTIME: &str = "48.0.8";
const MOSEC: &str = "0.9.8";
const WORKERD: &str = "1.20261117.1";

pub(super) const WASMTIME_DEFAULT: &str = "wasmtime serve";
pub(super) const WASMTIME_REUSE: &str = "wasmtime serve, reuse and pooling";
pub(super) const MOSEC_NAME: &str = "mosec";
pub(super) const WORKERD_NAME: &str = "workerd";

pub(super) fn peers(directory: &Path) -> Result<Vec<Peer>> {
    Ok(vec![
        wasmtime(directory, WASMTIME_REUSE, &["--max-instance-reuse-count", "1000000000", "-Opooling-allocator=y"])?,
        wasmtime(directory, WASMTIME_DEFAULT, &[])?,
        mosec(directory)?,
        workerd(directory)?,
        nginx(directory)?,
    ])
}

/// Runs wasmtime, with an instance per request or, with reuse options, with instances that serve many requests like
/// Bulkhead's.
fn wasmtime(directory: &Path, name: &'static str, options: &[&str]) -> Result<Peer> {
    let home = directory.join("wasmtime");
    let port = free_port()?;
    let program = home.join("bin/wasmtime");
    let mut install = Command::new("cargo");
    install.args(["install", "wasmtime-cli", "--version", WASMTIME, "--locked", "--no-default-features"]);
    // The fewest features with which `serve` compiles and pools.
    install.args(["--features", "run,serve,cranelift,parallel-compilation,pooling-allocator,component-model-async"]);
    install.arg("--root").arg(&home);
    let mut command = Command::new(&program);
    // Rust's standard library imports the command-line interfaces even where it does not use them.
    command.args(["serve", "-Scli", "--addr", &format!("127.0.0.1:{port}")]).args(options).arg(guests::http_echo());
    Ok(Peer { name, home, version: WASMTIME, install: vec![install], files: Vec::new(), command, port, path: "/" })
}

/// Runs mosec with a process per core. Bodies are passed unchanged; the default would be to parse JSON.
fn mosec(directory: &Path) -> Result<Peer> {
    let home = directory.join("mosec");
    let port = free_port()?;
    let python = home.join("bin/python");
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&home);
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", &format!("mosec=={MOSEC}")]);
    let script = home.join("echo.py");
    let mut command = Command::new(&python);
    command.arg(&script).args(["--address", "127.0.0.1", "--port", &port.to_string(), "--log-level", "error"]);
    // mosec leaves its sockets in the directory for temporary files.
    command.env("TMPDIR", &home);
    let text = format!(
        "from mosec import Server, Worker\n\n\n\
         class Echo(Worker):\n    \
             def deserialize(self, data):\n        return data\n\n    \
             def serialize(self, data):\n        return data\n\n    \
             def forward(self, data):\n        return data\n\n\n\
         if __name__ == \"__main__\":\n    \
             server = Server()\n    server.append_worker(Echo, num={})\n    server.run()\n",
        available_parallelism()?
    );
    Ok(Peer {
        name: MOSEC_NAME,
        version: MOSEC,
        install: vec![venv, install],
        files: vec![(script, text)],
        command,
        port,
        path: "/inference",
        home,
    })
}

fn workerd(directory: &Path) -> Result<Peer> {
    let home = directory.join("workerd");
    let port = free_port()?;
    let program = home.join("node_modules/@cloudflare/workerd-linux-64/bin/workerd");
    let mut install = Command::new("npm");
    // The package's install script would only link the program to another path.
    install.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--prefix", "."]);
    install.arg(format!("workerd@{WORKERD}"));
    let config = home.join("echo.capnp");
    let mut command = Command::new(&program);
    command.arg("serve").arg(&config);
    let text = format!(
        "using Workerd = import \"/workerd/workerd.capnp\";\n\n\
         const config :Workerd.Config = (\n  \
           services = [ (name = \"echo\", worker = .echo) ],\n  \
           sockets = [ (name = \"http\", address = \"127.0.0.1:{port}\", http = (), service = \"echo\") ],\n);\n\n\
         const echo :Workerd.Worker = (\n  \
           modules = [ (name = \"echo\", esModule = embed \"echo.js\") ],\n  \
           compatibilityDate = \"2026-11-01\",\n);\n"
    );
    let script =
        "export default {\n  async fetch(request) {\n    return new Response(await request.arrayBuffer());\n  },\n};\n";
    Ok(Peer {
        name: WORKERD_NAME,
        version: WORKERD,
        install: vec![install],
        files: vec![(config, text), (home.join("echo.js"), script.to_owned())],
        command,
        port,
        path: "/",
        home,
    })
}

/// Runs nginx, which has no echo: it reads and drops the body, and answers with another body of the same size.
fn nginx(directory: &Path) -> Result<Peer> {
    let home = directory.join("nginx");
    let port = free_port()?;
    let program = home.join("root/usr/sbin/nginx");
    let mut download = Command::new("sh");
    download.args(["-c", "apt-get download nginx && dpkg-deb --extract nginx_*.deb root"]);
    let body = "x".repeat(super::super::KIB);
    let config = home.join("nginx.conf");
    let text = format!(
        "daemon off;\nworker_processes {};\npid nginx.pid;\nerror_log stderr error;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n  access_log off;\n  keepalive_requests 1000000000;\n  \
           client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; \
           scgi_temp_path scgi;\n  \
           server {{\n    listen 127.0.0.1:{port} reuseport;\n    location / {{ return 200 \"{body}\"; }}\n  }}\n}}\n",
        available_parallelism()?
    );
    let mut command = Command::new(&program);
    command.arg("-p").arg(&home).arg("-c").arg(&config);
    Ok(Peer {
        name: "nginx, return 200",
        version: "of Debian",
        install: vec![download],
        files: vec![(config, text)],
        command,
        port,
        path: "/",
        home,
    })
}
