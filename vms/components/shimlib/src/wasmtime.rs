//! Wasmtime, for modules of wasip1.

use anyhow::anyhow;
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

async fn run_module(guest: Guest) -> wasmtime::Result<i32> {
    let engine = Engine::new(&Config::new())?;
    let module = Module::new(&engine, &guest.module)?;
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
