// Package h2 asks the binary, with a proxied application behind it, what it
// makes of HTTP/2: the cases of h2spec, the clients that people use, floods,
// and requests that mean one thing to HTTP/2 and another to HTTP/1.1. It is a
// suite against the built binary; nothing imports it.
package h2

import (
	"testing"

	"github.com/perchserver/perch/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
