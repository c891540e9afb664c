// Panics with a message: shows that the message reaches stderr and that the end
// (Go's exit code 2) is not reported as success.
package main

import "workloads/guest"

func main() {
	guest.Announce("go-panic")
	panic("the guest panics on purpose")
}
