//! A containerd shim for Wasm: runwasi's library and an engine, chosen by a feature when compiled.
//!
//! The library speaks with containerd, makes the container (with youki's library) and hands over
//! in the container's process. What an engine is told is ours: the whole argument vector, the
//! environment, the container's root as `/`, the container's streams and network.

use anyhow::Result;
use containerd_shim_wasm::sandbox::{Sandbox, context::RuntimeContext};
use containerd_shim_wasm::shim::{Cli, Shim, Version, version};

#[cfg(feature = "wasmedge")]
#[path = "wasmedge.rs"]
mod engine;
#[cfg(feature = "wasmer")]
#[path = "wasmer.rs"]
mod engine;
#[cfg(feature = "wasmtime")]
#[path = "wasmtime.rs"]
mod engine;

/// What an engine is told of a container.
pub struct Guest {
    pub module: Vec<u8>,
    /// The library has it from its cache: `module` is what `compiler` has made, not WebAssembly.
    #[cfg_attr(not(feature = "wasmtime"), allow(dead_code))]
    pub precompiled: bool,
    pub function: String,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
}

struct Shimlib;

impl Shim for Shimlib {
    type Sandbox = Engine;

    fn name() -> &'static str {
        engine::NAME
    }

    fn version() -> Version {
        version!()
    }

    #[cfg(feature = "wasmtime")]
    async fn compiler() -> Option<impl containerd_shim_wasm::shim::Compiler> {
        engine::Precompiler::new().ok()
    }
}

#[derive(Default)]
struct Engine;

impl Sandbox for Engine {
    /// The exit code of the guest; an error of the engine, a trap too, is the library's to report.
    async fn run_wasi(&self, context: &impl RuntimeContext) -> Result<i32> {
        let entrypoint = context.entrypoint();
        let guest = Guest {
            module: entrypoint.source.as_bytes()?.into_owned(),
            precompiled: entrypoint.source.is_precompiled()?,
            function: entrypoint.func,
            arguments: context.args().to_vec(),
            environment: context
                .envs()
                .iter()
                .map(|variable| variable.split_once('=').unwrap_or((variable, "")))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        };
        engine::run(guest).await
    }
}

fn main() {
    Shimlib::run(None);
}
