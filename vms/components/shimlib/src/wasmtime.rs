//! Wasmtime, for modules of wasip1. Modules that are layers of an image are compiled once.

use std::hash::Hash;

use anyhow::anyhow;
use containerd_shim_wasm::sandbox::context::WasmLayer;
use containerd_shim_wasm::shim::Compiler;
use wasmtime::{Config, Engine, Error, Linker, Module, Store};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::{DirPerms, FilePerms, I32Exit, WasiCtxBuilder};

use crate::Guest;

pub const NAME: &str = "wasmtime";

pub async fn run(guest: Guest) -> anyhow::Result<i32> {
    run_module(guest)
        .await
        .map_err(|error| anyhow!("{error:?}"))
}

/// Compiles what containerd's content store then keeps.
pub struct Precompiler(Engine);

impl Precompiler {
    pub fn new() -> wasmtime::Result<Self> {
        Ok(Self(Engine::new(&Config::new())?))
    }
}

impl Compiler for Precompiler {
    fn cache_key(&self) -> impl Hash {
        self.0.precompile_compatibility_hash()
    }

    /// A layer that is no module stays as it is: running it then says why it cannot be run.
    async fn compile(&self, layers: &[WasmLayer]) -> anyhow::Result<Vec<Option<Vec<u8>>>> {
        Ok(layers
            .iter()
            .map(|layer| self.0.precompile_module(&layer.layer).ok())
            .collect())
    }
}

async fn run_module(guest: Guest) -> wasmtime::Result<i32> {
    let engine = Engine::new(&Config::new())?;
    let module = if guest.precompiled {
        // SAFETY: the library says so of nothing but what `Precompiler` has made on this node
        unsafe { Module::deserialize(&engine, &guest.module)? }
    } else {
        Module::from_binary(&engine, &guest.module)?
    };
    let mut linker = Linker::<WasiP1Ctx>::new(&engine);
    p1::add_to_linker_async(&mut linker, |context| context)?;
    let context = WasiCtxBuilder::new()
        .args(&guest.arguments)
        .envs(&guest.environment)
        .inherit_stdio()
        .inherit_network()
        .preopened_dir("/", "/", DirPerms::all(), FilePerms::all())?
        .build_p1();
    let mut store = Store::new(&engine, context);
    let instance = linker.instantiate_async(&mut store, &module).await?;
    let function = instance
        .get_func(&mut store, &guest.function)
        .ok_or_else(|| Error::msg(format!("the module exports no function {}", guest.function)))?;
    match function.call_async(&mut store, &[], &mut []).await {
        Ok(()) => Ok(0),
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(exit) => Ok(exit.0),
            None => Err(error),
        },
    }
}
