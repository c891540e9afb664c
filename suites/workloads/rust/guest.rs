//! What every Rust guest shares: the announcement that proves who ran, and JSON
//! findings in the same protocol as `c/guest.h`.

use std::env;
use std::io::{self, Write};

/// A compile-time constant: a native twin cannot pass for the module.
const TARGET: &str = if cfg!(all(target_os = "wasi", target_env = "p1")) {
    "wasm32-wasip1"
} else if cfg!(all(target_arch = "x86_64", target_os = "linux")) {
    "x86_64-linux"
} else if cfg!(all(target_arch = "aarch64", target_os = "linux")) {
    "aarch64-linux"
} else {
    panic!("no name for this target")
};

/// A JSON string whose reader gets back exactly these bytes (as latin-1).
pub fn json(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(byte as char);
            }
            0x20..=0x7e => text.push(byte as char),
            _ => text.push_str(&format!("\\u00{byte:02x}")),
        }
    }
    text.push('"');
    text
}

fn line(text: &str) {
    let mut out = io::stdout().lock();
    out.write_all(format!("{text}\n").as_bytes()).expect("stdout takes a line");
    out.flush().expect("stdout takes a line");
}

/// The first thing every guest does.
pub fn announce(name: &str) {
    let nonce = env::args_os()
        .find_map(|argument| {
            let bytes = argument.as_encoded_bytes();
            let at = bytes.windows(6).position(|window| window == b"nonce=")?;
            Some(bytes[at + 6..].to_vec())
        })
        .or_else(|| Some(env::var_os("CONFORMANCE_NONCE")?.into_encoded_bytes()))
        .unwrap_or_default();
    let digits = nonce.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).count();
    line(&format!(
        "@guest {{\"guest\":{},\"target\":\"{TARGET}\",\"nonce\":{}}}",
        json(name.as_bytes()),
        json(&nonce[..digits]),
    ));
}

/// Prints one finding; `fields` is what stands between the braces.
#[allow(dead_code)] // a guest that only ends has nothing to report
pub fn report(fields: &str) {
    line(&format!("@report {{{fields}}}"));
}
