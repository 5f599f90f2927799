//! A server on this machine: finds its token, and waits while it starts.

use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::Uri;

/// The directory in which `bulkhead serve` keeps its data unless it is told otherwise.
const DATA: &str = "bulkhead-data";
/// The longest wait for a server that has just been started to listen.
const START: Duration = Duration::from_secs(1);
/// In a debug build, the environment variable with another wait, in seconds: beside other tests a start takes longer.
const START_VARIABLE: &str = "BULKHEAD_START_S";
const PAUSE: Duration = Duration::from_millis(50);

/// The data directory of a server that was started here or in a directory above: a project is often a subdirectory of
/// the directory that its server was started in.
pub(super) fn data_directory() -> Option<PathBuf> {
    find_from(&std::env::current_dir().ok()?)
}

fn find_from(here: &Path) -> Option<PathBuf> {
    here.ancestors().map(|directory| directory.join(DATA)).find(|data| data.join("admin.token").is_file())
}

/// Waits briefly until a server listens at `url`, as in `bulkhead serve & bulkhead list`. Errors are left to the
/// request that follows.
pub(super) fn wait_for(url: &str) {
    let Ok(uri) = url.parse::<Uri>() else { return };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let Ok(addresses) = (host, port).to_socket_addrs() else { return };
    let addresses: Vec<_> = addresses.collect();
    let end = Instant::now() + patience();
    while TcpStream::connect(&*addresses).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        && Instant::now() < end
    {
        thread::sleep(PAUSE);
    }
}

fn patience() -> Duration {
    let set = std::env::var(START_VARIABLE).ok().filter(|_| cfg!(debug_assertions));
    set.and_then(|seconds| seconds.parse().ok()).map_or(START, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_nearest_data_directory_above_is_found() {
        let root = tempfile::tempdir().unwrap();
        let project = root.path().join("a/word-count");
        fs::create_dir_all(&project).unwrap();
        assert_eq!(find_from(&project), None);
        let make = |directory: &Path| {
            fs::create_dir_all(directory.join(DATA)).unwrap();
            fs::write(directory.join(DATA).join("admin.token"), "t").unwrap();
        };
        make(root.path());
        assert_eq!(find_from(&project), Some(root.path().join(DATA)));
        // A data directory without a token is skipped.
        fs::create_dir(project.join(DATA)).unwrap();
        assert_eq!(find_from(&project), Some(root.path().join(DATA)));
        make(&project);
        assert_eq!(find_from(&project), Some(project.join(DATA)));
    }

    #[test]
    fn a_server_that_is_about_to_listen_is_waited_for() {
        // The port is bound, and the socket does not listen yet.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let (began, waiting) = std::sync::mpsc::channel();
        let client = thread::spawn(move || {
            began.send(()).unwrap();
            wait_for(&format!("http://{address}"));
            TcpStream::connect(address).is_ok()
        });
        waiting.recv().unwrap();
        socket.listen(8).unwrap();
        assert!(client.join().unwrap());
    }

    #[test]
    fn nobody_is_waited_for_long() {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let began = Instant::now();
        wait_for(&format!("http://{address}"));
        assert!(began.elapsed() >= START, "a server that starts has its moment");
    }
}
