//! What the compiling child may use, and that it can do nothing but compute.
//!
//! First limits on memory, time and files; then, when its files are open and its threads are there, a filter of
//! system calls: no file can be opened, no process or thread made, no socket used from then on. What a flaw in the
//! compiler could still do is write to the file that is being made, whose hash is taken by the host, and to the one for
//! what was learnt, which the next such process reads.

use std::collections::BTreeMap;
use std::io;

use rustix::process::{Pid, Resource, Rlimit, Signal, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};

/// Address space. The largest honest guests (ONNX, CPython) use 0.7 GB of it, and the allocator reserves 1 GiB at once.
const MEMORY: u64 = 3 << 30;
/// Processor seconds; the largest honest guests need 15.
const CPU_SECONDS: u64 = 60;
/// Largest file that may be written; the largest honest machine code has 65 MB.
const FILE: u64 = 256 << 20;
const NICE: i32 = 10;

/// Bounds what this process may use, and its life by that of `parent`. Called before anything else.
pub(super) fn limit(parent: Option<i32>) -> io::Result<()> {
    close_inherited();
    // Sent when the thread that started this process ends, not only when the host does.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // A parent that died before that line sends no signal any more, and this process belongs to another by now.
    if parent.is_some() && rustix::process::getppid().map(Pid::as_raw_pid) != parent {
        return Err(io::Error::other("the host is gone"));
    }
    rustix::process::setpriority_process(None, NICE)?;
    for (resource, limit) in [(Resource::As, MEMORY), (Resource::Fsize, FILE), (Resource::Core, 0)] {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    // At the first limit the system sends SIGXCPU, so a SIGKILL without it has another cause.
    let cpu = Rlimit { current: Some(CPU_SECONDS), maximum: Some(CPU_SECONDS + 2) };
    Ok(setrlimit(Resource::Cpu, cpu)?)
}

/// The limit that made a child die of `signal`, if it was one. `said` is the child's output.
pub(super) fn limit_of(signal: i32, said: &str) -> Option<String> {
    match Signal::from_named_raw(signal)? {
        Signal::XCPU => Some(format!("it took more than {CPU_SECONDS} s of processor time")),
        Signal::KILL => Some("it was killed, as the system does when the machine's memory runs out".into()),
        Signal::XFSZ => Some(format!("its machine code is larger than {} MiB", FILE >> 20)),
        Signal::ABORT if said.contains("has overflowed its stack") => {
            Some("it is nested more deeply than the compiler can follow".into())
        }
        Signal::ABORT if is_out_of_memory(said) => Some(out_of_memory()),
        _ => None,
    }
}

/// True if a child's output says that it got no more memory.
pub(super) fn is_out_of_memory(said: &str) -> bool {
    ["memory allocation of", "Cannot allocate memory", "out of memory"].iter().any(|words| said.contains(words))
}

pub(super) fn out_of_memory() -> String {
    format!("it took more than {} MiB of memory", MEMORY >> 20)
}

/// Whatever the host itself was started with is none of the compiler's business.
#[expect(unsafe_code, reason = "closing by number has no safe form; nothing in this process has opened a file yet")]
fn close_inherited() {
    // SAFETY: only the three standard streams are in use this early, and they are left open. Old kernels lack the call;
    // then what was inherited stays open, and the filter keeps it from being read.
    let _ = unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
}

/// Lets this process do nothing any more but compute, take memory, and write to what is open.
///
/// # Errors
/// When the kernel has no such filter.
pub(super) fn close() -> Result<(), String> {
    if cfg!(profiling) {
        // Of a build that counts its steps, for `cargo xtask release`: it writes them to a file when it ends.
        return Ok(());
    }
    std::env::set_current_dir("/").map_err(|error| error.to_string())?;
    // The compiler shares its work among these threads; made now, it needs no right to make any.
    rayon::ThreadPoolBuilder::new().build_global().map_err(|error| error.to_string())?;
    // For kernels without the filter this would do, but only where the host does not run as root.
    setrlimit(Resource::Nproc, Rlimit { current: Some(0), maximum: Some(0) }).map_err(|error| error.to_string())?;
    let filter = filter().map_err(|error| error.to_string())?;
    apply_filter_all_threads(&filter).map_err(|error| error.to_string())
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let allowed: BTreeMap<i64, Vec<_>> = ALLOWED.into_iter().map(|call| (call, Vec::new())).collect();
    // Whatever else is tried fails as if it were not permitted; honest code has a way on from there.
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(allowed, denied, SeccompAction::Allow, std::env::consts::ARCH.try_into()?)?;
    filter.try_into()
}

/// Memory, locks, clocks, writing, and ending.
const ALLOWED: [i64; 26] = [
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fdatasync,
    libc::SYS_fsync,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    libc::SYS_write,
];

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// Run in a process of its own: what is closed cannot be opened again.
    #[test]
    fn a_closed_process_can_compute_and_write_and_nothing_else() {
        if std::env::var_os("CLOSE_YOURSELF").is_some() {
            return closed();
        }
        let name = "sandbox::compile::confine::tests::a_closed_process_can_compute_and_write_and_nothing_else";
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture", "--test-threads", "1"])
            .env("CLOSE_YOURSELF", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(said.contains("file: PermissionDenied, socket: PermissionDenied, process: PermissionDenied"), "{said}");
        assert!(said.contains("thread: PermissionDenied, memory: 1000000, pool: 499500"), "{said}");
    }

    fn closed() {
        use rayon::prelude::*;
        super::limit(None).unwrap();
        super::close().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap_err().kind();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap_err().kind();
        let process = Command::new("/bin/true").spawn().unwrap_err().kind();
        let thread = std::thread::Builder::new().spawn(|| {}).unwrap_err().kind();
        let memory = vec![1_u8; 1_000_000].into_iter().map(u64::from).sum::<u64>();
        let pool: u64 = (0..1000_u64).into_par_iter().sum();
        println!("file: {file:?}, socket: {socket:?}, process: {process:?}");
        println!("thread: {thread:?}, memory: {memory}, pool: {pool}");
    }
}
