//! What the compiling child may use, and that it can do nothing but compute.
//!
//! First limits on memory, time and files; then, when its files are open and its threads are there, a filter of
//! system calls: no file can be opened, no process or thread made, no socket used from then on. What a flaw in the
//! compiler could still do is write to the file that is being made, whose hash is taken by the host, and to the one for
//! what was learnt, which the next such process reads.

use std::collections::BTreeMap;
use std::io;

use rustix::process::{Pid, Resource, Rlimit, Signal, getpriority_process, getrlimit, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};

/// Address space. The largest honest guests (ONNX, CPython) use 0.7 GB of it, and the allocator reserves 1 GiB at once.
const MEMORY: u64 = 3 << 30;
/// Processor seconds; the largest honest guests need 15.
const CPU_SECONDS: u64 = 60;
/// Between the signal that says so and the one that ends it.
const CPU_GRACE: u64 = 2;
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
    // Only some may do without what they were started with, and nobody needs to: a host that was made nicer stays so.
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

/// The limit of the child: ours, or the one that the host was started with if that is lower, which only root could raise.
/// The host has what its child inherits, so that this is the same in both.
fn in_force(resource: Resource, own: u64) -> u64 {
    lower(own, getrlimit(resource).maximum)
}

/// `None` is no limit.
fn lower(own: u64, inherited: Option<u64>) -> u64 {
    inherited.map_or(own, |inherited| inherited.min(own))
}

/// At this limit the system sends SIGXCPU and at the higher one SIGKILL, which has another cause without the first.
fn cpu_in_force() -> u64 {
    in_force(Resource::Cpu, CPU_SECONDS + CPU_GRACE).saturating_sub(CPU_GRACE).max(1)
}

/// A limit of bytes as a reason names it, and the way to a higher one where the host was started with it.
fn told(limit: u64, own: u64, option: &str) -> String {
    let size = if limit >= 1 << 20 { format!("{} MiB", limit >> 20) } else { format!("{} KiB", limit >> 10) };
    if limit < own { format!("{size} (the host's own `ulimit {option}`)") } else { size }
}

/// The limit that made a child die of `signal`, if it was one. `said` is the child's output.
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

    use super::{Resource, Signal};

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

    /// A limit above the one inherited is refused to all but root, and then every deploy was. Root's would be raised.
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
