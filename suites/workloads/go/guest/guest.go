// Package guest is what every Go guest shares: the announcement that proves who
// ran, and JSON findings in the same protocol as c/guest.h.
package guest

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// JSON gives a JSON string whose reader gets back exactly these bytes (as latin-1).
func JSON(text string) string {
	var out strings.Builder
	out.WriteByte('"')
	for i := 0; i < len(text); i++ {
		switch b := text[i]; {
		case b == '"' || b == '\\':
			out.WriteByte('\\')
			out.WriteByte(b)
		case b >= 0x20 && b < 0x7f:
			out.WriteByte(b)
		default:
			fmt.Fprintf(&out, "\\u00%02x", b)
		}
	}
	out.WriteByte('"')
	return out.String()
}

// List gives a JSON array of strings.
func List(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = JSON(text)
	}
	return "[" + strings.Join(quoted, ",") + "]"
}

// target rests on GOOS and GOARCH, which are constants of the compilation: a
// native twin cannot pass for the module.
func target() string {
	switch runtime.GOOS + "/" + runtime.GOARCH {
	case "wasip1/wasm":
		return "wasm32-wasip1"
	case "linux/amd64":
		return "x86_64-linux"
	case "linux/arm64":
		return "aarch64-linux"
	}
	panic("no name for this target")
}

func nonce() string {
	text := os.Getenv("CONFORMANCE_NONCE")
	for _, argument := range os.Args {
		if _, after, found := strings.Cut(argument, "nonce="); found {
			text = after
			break
		}
	}
	return text[:len(text)-len(strings.TrimLeft(text, "0123456789abcdef"))]
}

// Announce is the first thing every guest does.
func Announce(name string) {
	fmt.Printf("@guest {\"guest\":%s,\"target\":%s,\"nonce\":%s}\n", JSON(name), JSON(target()), JSON(nonce()))
}

// Report prints one finding; fields is what stands between the braces.
func Report(fields string) {
	fmt.Printf("@report {%s}\n", fields)
}
