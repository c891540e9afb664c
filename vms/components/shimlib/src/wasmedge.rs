//! WasmEdge, its library loaded when the shim starts.

use std::collections::HashMap;

use anyhow::Result;
use wasmedge_sdk::wasi::WasiModule;
use wasmedge_sdk::{Module, Store, Vm};

use crate::Guest;

pub const NAME: &str = "wasmedge";

pub async fn run(guest: Guest) -> Result<i32> {
    let variables: Vec<String> = guest
        .environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut wasi = WasiModule::create(
        Some(guest.arguments.iter().map(String::as_str).collect()),
        Some(variables.iter().map(String::as_str).collect()),
        Some(vec!["/:/"]),
    )?;
    let mut instances = HashMap::new();
    instances.insert(wasi.name().to_string(), wasi.as_mut());
    let mut vm = Vm::new(Store::new(None, instances)?);
    let module = Module::from_bytes(None, &guest.module)?;
    vm.register_module(Some("main"), module)?;
    vm.run_func(Some("main"), &guest.function, [])?;
    Ok(wasi.exit_code() as i32)
}
