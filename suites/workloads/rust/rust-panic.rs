// Panics with a message: shows that the message reaches stderr and that the end
// is not reported as success.
#[path = "guest.rs"]
mod guest;

fn main() {
    guest::announce("rust-panic");
    panic!("the guest panics on purpose");
}
