use serde::Deserialize;

/// The actions that the body may request, under `"do"`.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Deed {
    /// Panics with a message, which the host passes on to the caller.
    Panic {
        #[serde(default = "panic_message")]
        message: String,
    },
    /// Traps without a message, like a corrupted program.
    Trap,
    /// Never ends.
    Loop,
    /// Calls itself until the stack is used up. Small variables are on the engine's stack, large ones in the guest's
    /// memory.
    Recurse {
        #[serde(default)]
        large: bool,
    },
    /// Writes to `mib` mebibytes of memory, or to all memory.
    Alloc { mib: Option<u64> },
    /// Does integer work, which consumes fuel.
    Burn {
        #[serde(default = "burn_rounds")]
        rounds: u64,
    },
    /// Waits without working.
    Sleep { ms: u64 },
    /// Chooses the status, as an error or as a response.
    Status {
        status: u16,
        #[serde(default)]
        message: String,
        #[serde(default, rename = "as")]
        shape: Shape,
    },
    /// Sends headers unchecked, impossible ones included.
    Headers {
        headers: Vec<(String, String)>,
        #[serde(default = "success")]
        status: u16,
        #[serde(default)]
        body: String,
    },
    /// Answers with that many bytes.
    Body { bytes: usize },
    /// Writes `lines` log lines of `bytes` bytes.
    Log {
        #[serde(default = "one_line")]
        lines: u32,
        #[serde(default = "line_bytes")]
        bytes: usize,
    },
    /// Returns the number of calls in this call's batch. With `miscount`, the batch returns one answer too few.
    Batch {
        #[serde(default)]
        miscount: bool,
    },
    /// Streams `pieces` pieces of `bytes` bytes, with a pause after each, and ends in this way.
    Stream {
        #[serde(default = "three_pieces")]
        pieces: u64,
        #[serde(default = "line_bytes")]
        bytes: usize,
        #[serde(default)]
        pause_ms: u64,
        #[serde(default)]
        end: StreamEnd,
    },
    /// Returns the number of calls of this instance; a fresh instance answers 1.
    Flag,
    /// Returns everything that a processor can see.
    Inspect,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Shape {
    #[default]
    Error,
    Response,
}

/// The end of a streamed answer.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StreamEnd {
    #[default]
    Ok,
    Panic,
    Trap,
    /// Returns an error with status 422.
    Error,
    /// Computes for ever.
    Loop,
    /// Waits until the caller has left, and then returns.
    Linger,
    /// Waits for ever.
    Hang,
    /// Returns a response with a body, which is not allowed.
    Body,
    /// Begins another answer, which is refused, and returns the refusal as an error.
    Twice,
}

fn three_pieces() -> u64 {
    3
}

fn panic_message() -> String {
    "asked to panic".to_owned()
}

fn burn_rounds() -> u64 {
    1_000_000
}

fn success() -> u16 {
    200
}

fn one_line() -> u32 {
    1
}

fn line_bytes() -> usize {
    80
}
