use serde::Deserialize;

/// What the body may ask for, under `"do"`.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Deed {
    /// Panics with a message, which the host passes on.
    Panic {
        #[serde(default = "panic_message")]
        message: String,
    },
    /// Stops without a word, as a corrupted program would.
    Trap,
    /// Never ends.
    Loop,
    /// Calls itself until the stack is gone. Small variables lie on the engine's stack, large ones in the guest's memory.
    Recurse {
        #[serde(default)]
        large: bool,
    },
    /// Touches that many mebibytes, or all there are.
    Alloc { mib: Option<u64> },
    /// Integer work: what fuel counts.
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
    /// Writes so many log lines of so many bytes.
    Log {
        #[serde(default = "one_line")]
        lines: u32,
        #[serde(default = "line_bytes")]
        bytes: usize,
    },
    /// Tells how many calls are in this one's batch. One that miscounts takes an answer away from the batch.
    Batch {
        #[serde(default)]
        miscount: bool,
    },
    /// Tells how many calls this instance was given, so a fresh instance answers 1.
    Flag,
    /// Tells everything that a processor can see.
    Inspect,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Shape {
    #[default]
    Error,
    Response,
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
