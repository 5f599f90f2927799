//! The confinement of the compiling child: its limits, and a filter that leaves it only computation.
//!
//! First come limits on memory, time and files. Once its files are open and its threads exist, a filter of system calls
//! follows: from then on the child opens no file, starts no process or thread, and uses no socket. A flaw in the
//! compiler could still write to two files: the result, whose hash the host takes, and the file of compiled functions,
//! which the next such process reads.

use std::collections::BTreeMap;
use std::io;

use rustix::process::{Pid, Resource, Rlimit, Signal, getpriority_process, getrlimit, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};

/// Bytes of address space. The largest honest guests (ONNX, CPython) use 0.7 GB, and the allocator reserves 1 GiB at
/// once.
const MEMORY: u64 = 3 << 30;
/// Processor seconds; the largest honest guests need 15.
const CPU_SECONDS: u64 = 60;
/// Seconds between the signal at the limit and the signal that ends the process.
const CPU_GRACE: u64 = 2;
/// Most bytes of a file that may be written; the largest honest machine code has 65 MB.
const FILE: u64 = 256 << 20;
const NICE: i32 = 10;

/// Limits the resources of this process, and makes it end with `parent`. Called before anything else.
pub(super) fn limit(parent: Option<i32>) -> io::Result<()> {
    close_inherited();
    // The signal is sent when the thread that started this process ends, not only when the host ends.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // If the parent died before this call, no signal is sent, and this process has another parent by now.
    if parent.is_some() && rustix::process::getppid().map(Pid::as_raw_pid) != parent {
        return Err(io::Error::other("the host has ended"));
    }
    // Only a privileged process may lower its nice value. A host with a higher value keeps it.
    if getpriority_process(None)? < NICE {
        rustix::process::setpriority_process(None, NICE)?;
    }
    for (resource, limit) in [(Resource::As, MEMORY), (Resource::Fsize, FILE), (Resource::Core, 0)] {
        let limit = in_force(resource, limit);
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    let cpu = cpu_in_force();
    let maximum = in_force(Resource::Cpu, cpu + CPU_GRACE);
    Ok(setrlimit(Resource::Cpu, Rlimit { current: Some(cpu), maximum: Some(maximum) })?)
}

/// Returns the limit of the child: `own`, or the one of the host if that is lower, because only root could raise it.
/// The child inherits the host's limit, so both processes get the same result.
fn in_force(resource: Resource, own: u64) -> u64 {
    lower(own, getrlimit(resource).maximum)
}

/// Returns the lower limit; `None` is no limit.
fn lower(own: u64, inherited: Option<u64>) -> u64 {
    inherited.map_or(own, |inherited| inherited.min(own))
}

/// Returns the seconds after which the system sends SIGXCPU. At the higher limit it sends SIGKILL; a SIGKILL without a
/// SIGXCPU before it has another cause.
fn cpu_in_force() -> u64 {
    in_force(Resource::Cpu, CPU_SECONDS + CPU_GRACE).saturating_sub(CPU_GRACE).max(1)
}

/// Describes a limit in bytes. If the host's own limit is lower than `own`, the text names the option that sets it.
fn told(limit: u64, own: u64, option: &str) -> String {
    let size = if limit >= 1 << 20 { format!("{} MiB", limit >> 20) } else { format!("{} KiB", limit >> 10) };
    if limit < own { format!("{size} (the host's own `ulimit {option}`)") } else { size }
}

/// Returns the limit that made a child die of `signal`, if it was a limit. `said` is the child's output.
pub(super) fn limit_of(signal: i32, said: &str) -> Option<String> {
    match Signal::from_named_raw(signal)? {
        Signal::XCPU => Some(format!("it took more than {} s of processor time", cpu_in_force())),
        Signal::KILL => Some("it was killed, as the system does when the machine's memory runs out".into()),
        Signal::XFSZ => {
            Some(format!("its machine code is larger than {}", told(in_force(Resource::Fsize, FILE), FILE, "-f")))
        }
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
    let limit = in_force(Resource::As, MEMORY);
    format!("it took more than {} of memory", told(limit, MEMORY, "-v"))
}

/// Closes inherited files, which the compiler must not use.
#[expect(unsafe_code, reason = "closing by number has no safe form; nothing in this process has opened a file yet")]
fn close_inherited() {
    // SAFETY: only the three standard streams are in use this early, and they are left open. Old kernels lack the call;
    // then inherited files stay open, and the filter prevents reading them.
    let _ = unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
}

/// Restricts this process to computing, allocating memory, and writing to open files.
///
/// # Errors
/// If the kernel has no such filter.
pub(super) fn close() -> Result<(), String> {
    if cfg!(profiling) {
        // A build for `cargo xtask release` counts its steps, and writes the counts to a file when it ends.
        return Ok(());
    }
    std::env::set_current_dir("/").map_err(|error| error.to_string())?;
    // The compiler uses these threads. They are started now, so that the filter need not allow new ones.
    rayon::ThreadPoolBuilder::new().build_global().map_err(|error| error.to_string())?;
    // On kernels without the filter, this limit still prevents new processes, unless the host runs as root.
    setrlimit(Resource::Nproc, Rlimit { current: Some(0), maximum: Some(0) }).map_err(|error| error.to_string())?;
    let filter = filter().map_err(|error| error.to_string())?;
    apply_filter_all_threads(&filter).map_err(|error| error.to_string())
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let allowed: BTreeMap<i64, Vec<_>> = ALLOWED.into_iter().map(|call| (call, Vec::new())).collect();
    // Other calls fail as not permitted, which honest code can handle.
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(allowed, denied, SeccompAction::Allow, std::env::consts::ARCH.try_into()?)?;
    filter.try_into()
}

/// The system calls for memory, locks, clocks, writing, and ending.
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

    use super::{Resource, Signal};

    /// Runs in a process of its own, because a closed process cannot be opened again.
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

    /// Regression test: a limit above the inherited one is refused to all but root, which made every deploy fail. Root
    /// would raise the limit.
    #[test]
    fn a_lower_limit_of_the_host_is_the_childs() {
        if std::env::var_os("LIMIT_YOURSELF").is_some() {
            super::limit(None).unwrap();
            let most = |resource| super::getrlimit(resource).maximum.unwrap();
            println!("memory {} file {} cpu {}", most(Resource::As), most(Resource::Fsize), most(Resource::Cpu));
            println!("nice {}", super::getpriority_process(None).unwrap());
            println!("{:?}", super::limit_of(Signal::XFSZ.as_raw(), ""));
            println!("{:?}", super::limit_of(Signal::XCPU.as_raw(), ""));
            return println!("{:?}", super::out_of_memory());
        }
        let name = "sandbox::compile::confine::tests::a_lower_limit_of_the_host_is_the_childs";
        let limited = "ulimit -v 2097152 && ulimit -f 200 && ulimit -t 30 && exec nice -n 15 \"$@\"";
        let child = Command::new("sh")
            .args(["-c", limited, "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture", "--test-threads", "1"])
            .env("LIMIT_YOURSELF", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(said.contains(&format!("memory {} file {} cpu 30\n", 2_u64 << 30, 200 * 512)), "{said}");
        let nice = super::getpriority_process(None).unwrap() + 15;
        assert!(said.contains(&format!("nice {}\n", nice.min(19))), "{said}");
        assert!(said.contains("its machine code is larger than 100 KiB (the host's own `ulimit -f`)"), "{said}");
        assert!(said.contains("it took more than 28 s of processor time"), "{said}");
        assert!(said.contains("it took more than 2048 MiB (the host's own `ulimit -v`) of memory"), "{said}");
    }

    #[test]
    fn the_lower_of_two_limits_is_in_force() {
        assert_eq!([super::lower(5, None), super::lower(5, Some(9)), super::lower(5, Some(3))], [5, 5, 3]);
        assert_eq!(super::told(3 << 30, 3 << 30, "-v"), "3072 MiB");
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
