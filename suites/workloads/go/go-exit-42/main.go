// Ends by os.Exit(42): shows whether a Go guest's exit code reaches the caller.
package main

import (
	"os"

	"workloads/guest"
)

func main() {
	guest.Announce("go-exit-42")
	os.Exit(42)
}
