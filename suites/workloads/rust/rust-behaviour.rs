// Uses what a Rust program takes for granted (arguments, environment, stdin, a
// file, a randomly seeded HashMap): shows that Rust's standard library works here.
#[path = "guest.rs"]
mod guest;

use std::collections::hash_map::{HashMap, RandomState};
use std::env;
use std::fs;
use std::hash::BuildHasher;
use std::io::{self, Read};

fn main() {
    guest::announce("rust-behaviour");
    let arguments: Vec<String> =
        env::args_os().map(|argument| guest::json(argument.as_encoded_bytes())).collect();
    let environment: Vec<String> = env::vars_os()
        .map(|(key, value)| {
            guest::json(&[key.as_encoded_bytes(), b"=", value.as_encoded_bytes()].concat())
        })
        .collect();
    let mut input = Vec::new();
    let stdin = match io::stdin().read_to_end(&mut input) {
        Ok(size) => size.to_string(),
        Err(_) => "null".to_string(),
    };
    let (greeting, error) = match fs::read("/data/greeting.txt") {
        Ok(content) => (guest::json(&content), "null".to_string()),
        Err(error) => ("null".to_string(), guest::json(error.to_string().as_bytes())),
    };
    let squares: HashMap<u64, u64> = (0..100).map(|number| (number, number * number)).collect();
    guest::report(&format!(
        "\"args\":[{}],\"env\":[{}],\"stdin_bytes\":{stdin},\"greeting\":{greeting},\"error\":{error},\
         \"sum_of_squares\":{},\"random\":\"{:016x}\"",
        arguments.join(","),
        environment.join(","),
        squares.values().sum::<u64>(),
        RandomState::new().hash_one(0),
    ));
}
