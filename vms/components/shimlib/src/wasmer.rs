//! Wasmer with its Singlepass compiler and WASIX.

use std::sync::Arc;

use anyhow::Result;
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use wasmer::sys::Singlepass;
use wasmer::{Module, Store};
use wasmer_wasix::virtual_fs::{FileSystem, host_fs};
use wasmer_wasix::{WasiEnv, WasiError};

use crate::Guest;

pub const NAME: &str = "wasmer";

pub async fn run(guest: Guest) -> Result<i32> {
    let root: Arc<dyn FileSystem + Send + Sync> =
        Arc::new(host_fs::FileSystem::new(Handle::current(), "/")?);
    let mut store = Store::new(Singlepass::default());
    let module = Module::from_binary(&store, &guest.module)?;
    // the program's name is its argument number 0
    let mut arguments = guest.arguments.into_iter();
    let (instance, environment) = WasiEnv::builder(arguments.next().unwrap_or_default())
        .args(arguments)
        .envs(guest.environment)
        .engine(store.engine().clone())
        .fs(root)
        .preopen_dir("/")?
        .instantiate(module, &mut store)?;
    let function = instance.exports.get_function(&guest.function)?;
    environment.data(&store).thread.set_status_running();
    match block_in_place(|| function.call(&mut store, &[])) {
        Ok(_) => Ok(0),
        Err(error) => match error.downcast_ref::<WasiError>() {
            Some(WasiError::Exit(code)) => Ok(code.raw()),
            _ => Err(error.into()),
        },
    }
}
