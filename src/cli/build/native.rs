//! Recognises in cargo's output that a dependency is written in C, which Rust alone cannot compile to WebAssembly, and
//! names an alternative: most such crates have a feature, or a similar crate, that is pure Rust.

use std::io::{self, BufRead, BufReader, Read, Write};

use super::TARGET;

/// Cargo's message for a failed build script; the crate and its version follow.
const FAILED: &str = "failed to run custom build command for `";
/// Most bytes of a line that are kept.
const MOST_OF_A_LINE: usize = 4 << 10;
/// Words in the output of programs that compile C for build scripts.
const C_WORDS: [&str; 9] = [
    "cc-rs",
    "failed to find tool",
    "clang",
    "fatal error:",
    "C compiler",
    "WASI_SYSROOT",
    "cmake",
    "CMake",
    "./configure",
];

/// Crates that compile C or C++, or look for a C library, each with an alternative that does not.
const WITHOUT_C: [(&[&str], &str); 14] = [
    (&["onig_sys", "esaxx-rs"], "`tokenizers` with default-features = false and features = [\"fancy-regex\"]"),
    (&["zstd-sys"], "`ruzstd` in place of `zstd`"),
    (&["lz4-sys"], "`lz4_flex` in place of `lz4`"),
    (&["bzip2-sys"], "`bzip2` of version 0.6 or later, with its default features"),
    (&["libz-sys", "libz-ng-sys", "cloudflare-zlib-sys"], "`flate2` with its default features"),
    (&["lzma-sys", "liblzma-sys"], "`lzma-rs`"),
    (&["blake3"], "`blake3` with features = [\"pure\"]"),
    (&["ring", "aws-lc-sys", "aws-lc-fips-sys"], "the RustCrypto crates (`sha2`, `hmac`, `aes-gcm`, `ed25519-dalek`)"),
    (&["openssl-sys", "openssl-src"], "no TLS, since a processor has no network: leave out the crate's feature for it"),
    (&["libsqlite3-sys"], "a store in Rust, such as `redb` in memory, or a file of the model directory"),
    (
        &["libmimalloc-sys", "tikv-jemalloc-sys", "jemalloc-sys", "snmalloc-sys"],
        "the allocator of the standard library",
    ),
    (&["openblas-src", "intel-mkl-src", "netlib-src", "blas-src", "lapack-src"], "the crate without its BLAS feature"),
    (&["ort-sys", "onnxruntime-sys", "tch", "torch-sys"], "`tract-onnx`, which runs ONNX models in Rust"),
    (&["pcre2-sys", "hyperscan-sys", "re2-sys"], "`regex` or `fancy-regex`"),
];

/// The facts about a failed build, taken from cargo's output.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// The crate whose build script failed first.
    script: Option<String>,
    spoke_of_c: bool,
}

impl Heard {
    /// Copies cargo's output to `to` as it comes, and scans it.
    pub(super) fn pass_on(from: impl Read, mut to: impl Write) -> io::Result<Self> {
        let (mut from, mut heard, mut line) = (BufReader::new(from), Self::default(), Vec::new());
        loop {
            let bytes = from.fill_buf()?;
            let count = bytes.len();
            if count == 0 {
                heard.listen(&line);
                return Ok(heard);
            }
            to.write_all(bytes)?;
            to.flush()?;
            for byte in bytes {
                // A progress bar returns to the beginning of its line.
                if matches!(byte, b'\n' | b'\r') {
                    heard.listen(&line);
                    line.clear();
                } else if line.len() < MOST_OF_A_LINE {
                    line.push(*byte);
                }
            }
            from.consume(count);
        }
    }

    fn listen(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        if self.script.is_none() {
            let named = line.split_once(FAILED).and_then(|(_, rest)| rest.split(['`', ' ']).next());
            self.script = named.map(str::to_owned);
            return;
        }
        self.spoke_of_c |= C_WORDS.iter().any(|word| line.contains(word));
    }

    /// The reason why cargo could not build `package`, as far as it is known.
    pub(super) fn explain(&self, package: &str) -> String {
        let Some(script) = &self.script else {
            return format!("cargo could not build `{package}`; it says why above");
        };
        let without = WITHOUT_C.iter().find(|(crates, _)| crates.contains(&script.as_str()));
        if without.is_none() && !self.spoke_of_c {
            return format!(
                "cargo could not build `{package}`: the build script of `{script}` failed; it says why above"
            );
        }
        let cure = match without {
            Some((_, cure)) => format!("use {cure}"),
            None => format!(
                "look for a feature that uses only Rust in the crate that depends on it (`cargo tree --target {TARGET} \
                 --invert {script}` names that crate)"
            ),
        };
        format!(
            "cargo could not build `{package}`: `{script}` is C code, and no C compiler for {TARGET} is set up; {cure}; \
             or install wasi-sdk (https://github.com/WebAssembly/wasi-sdk) and set WASI_SDK_PATH to its directory"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output of cargo 1.95 and cc 1.2 without clang.
    const NO_CLANG: &str = "   Compiling onig_sys v69.9.1\n\
        \x1b[1m\x1b[91merror\x1b[0m: failed to run custom build command for `onig_sys v69.9.1`\n\n\
        Caused by:\n  process didn't exit successfully: `/t/build/onig_sys-1/build-script-build` (exit status: 1)\n\
        \x20 --- stderr\n\n\n  error occurred in cc-rs: failed to find tool \"clang\": No such file or directory (os error 2)\n\n\n";

    fn heard(said: &str) -> Heard {
        let mut passed = Vec::new();
        let heard = Heard::pass_on(said.as_bytes(), &mut passed).unwrap();
        assert_eq!(passed, said.as_bytes(), "all of it is passed on");
        heard
    }

    #[test]
    fn c_code_is_named_with_its_way_out() {
        let told = heard(NO_CLANG).explain("nlp");
        assert!(told.contains("`onig_sys` is C code") && told.contains("features = [\"fancy-regex\"]"), "{told}");
        assert!(told.ends_with(
            "or install wasi-sdk (https://github.com/WebAssembly/wasi-sdk) and set WASI_SDK_PATH to its directory"
        ));
        let unknown = heard(&NO_CLANG.replace("onig_sys", "own-sys")).explain("nlp");
        assert!(unknown.contains("--invert own-sys"), "{unknown}");
    }

    #[test]
    fn other_failures_are_not_called_c_code() {
        let script =
            "error: failed to run custom build command for `mine v0.1.0 (/p)`\n\n  thread 'main' panicked: no schema\n";
        assert_eq!(
            heard(script).explain("a"),
            "cargo could not build `a`: the build script of `mine` failed; it says why above"
        );
        let rust = "error[E0425]: cannot find function `clang` in this scope\nerror: could not compile `a`";
        assert_eq!(heard(rust).explain("a"), "cargo could not build `a`; it says why above");
    }

    #[test]
    fn a_drawn_progress_bar_does_not_hide_the_crate() {
        let drawn = "  Building [==>   ] 3/7\r\x1b[Kerror: failed to run custom build command for `ring v0.17.14`\r\n";
        assert_eq!(heard(drawn).script.as_deref(), Some("ring"));
    }
}
