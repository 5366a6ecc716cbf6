package h2

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/perchserver/perch/test/harness"
)

// evil is the head of a request whose path the backend must not see.
func evil(fields ...string) []string {
	return append([]string{":method: POST", ":scheme: http", ":authority: a", ":path: /evil"}, fields...)
}

// replaced is a head with one pseudo-field in another form.
func replaced(name, value string) []string {
	fields := evil()
	for i, f := range fields {
		if strings.HasPrefix(f, name+":") {
			fields[i] = name + ": " + value
		}
	}
	return fields
}

// What is one request in HTTP/2 and another, or two, in HTTP/1.1 is refused
// before the backend sees any of it (RFC 9113 section 10.3).
func TestDowngrade(t *testing.T) {
	t.Parallel()
	h := harness.Start(t, harness.Run{Dir: harness.RawBackend(t, harness.WebConfig{})})
	h.Get("/first")
	const inject = " HTTP/1.1\r\nHost: a\r\n\r\nGET /evil"
	for name, fields := range map[string][]string{
		"transfer-encoding":           evil("transfer-encoding: chunked"),
		"transfer-encoding, obscured": evil("transfer-encoding : chunked"),
		"connection":                  evil("connection: keep-alive"),
		"connection with a name":      evil("connection: content-length"),
		"upgrade":                     evil("upgrade: websocket"),
		"keep-alive":                  evil("keep-alive: timeout=5"),
		"proxy-connection":            evil("proxy-connection: close"),
		"TE":                          evil("te: chunked"),
		"CRLF in a value":             evil("x: y\r\ntransfer-encoding: chunked"),
		"LF in a value":               evil("x: y\ntransfer-encoding: chunked"),
		"CR in a value":               evil("x: y\rz"),
		"NUL in a value":              evil("x: y\x00"),
		"CRLF in a name":              evil("x\r\ny: z"),
		"upper case":                  evil("Content-Length: 5"),
		"CRLF in the method":          replaced(":method", "GET /evil"+inject),
		"space in the method":         replaced(":method", "GET /evil"),
		"CRLF in the path":            replaced(":path", "/evil"+inject),
		"space in the path":           replaced(":path", "/evil HTTP/1.0"),
		"absolute path":               replaced(":path", "http://evil/evil"),
		"no slash":                    replaced(":path", "evil"),
		"CRLF in the authority":       replaced(":authority", "a\r\nx: y"),
		"path in the authority":       replaced(":authority", "a/evil"),
		"user in the authority":       replaced(":authority", "evil@a"),
		"other scheme":                replaced(":scheme", "https"),
		"scheme that is a URL":        replaced(":scheme", "http://evil/evil?"),
		"host against authority":      evil("host: evil"),
		"two hosts":                   evil("host: a", "host: a"),
		"two lengths":                 evil("content-length: 5", "content-length: 5"),
		"length that is a list":       evil("content-length: 5, 5"),
		"negative length":             evil("content-length: -5"),
		"two methods":                 evil(":method: POST"),
		"two paths":                   evil(":path: /evil"),
		"pseudo behind a field":       append(evil("x: y"), ":path: /evil"),
		"no method":                   evil()[1:],
		"CONNECT":                     {":method: CONNECT", ":authority: evil:80"},
		"protocol without CONNECT":    evil(":protocol: websocket"),
	} {
		c := dial(t, h)
		c.open(1, false, fields...)
		c.WriteData(1, true, []byte("hello"))
		if got := c.result(1); got != "PROTOCOL_ERROR" && got != "400" && got != "405" {
			t.Errorf("%s: %s", name, got)
		}
	}
	// Bodies that are not as long as they say, in one piece and in two.
	for _, declared := range []string{"4", "6", "0", "1000"} {
		for _, apart := range []bool{false, true} {
			c := dial(t, h)
			c.open(1, false, evil("content-length: "+declared)...)
			c.WriteData(1, false, []byte("he"))
			if apart {
				time.Sleep(soon)
			}
			c.WriteData(1, true, []byte("llo"))
			if got := c.result(1); got != "PROTOCOL_ERROR" {
				t.Errorf("5 bytes for %s, apart %v: %s", declared, apart, got)
			}
		}
	}
	c := dial(t, h)
	c.open(1, true, evil("content-length: 5")...)
	if got := c.result(1); got != "PROTOCOL_ERROR" {
		t.Errorf("a length and no body: %s", got)
	}
	var all []string
	h.JSON("/recorded", &all)
	if text := strings.Join(all, "\n"); strings.Contains(text, "evil") || !strings.Contains(text, "/first") {
		t.Errorf("the backend saw\n%s", text)
	}
}

// Floods end with ENHANCE_YOUR_CALM, cost little memory, and hurt nobody else.
func TestFloods(t *testing.T) {
	t.Parallel()
	h := harness.Go().Start(t)
	h.Worker()
	get := []string{":method: GET", ":scheme: http", ":authority: a", ":path: /slow?ms=10"}
	post := []string{":method: POST", ":scheme: http", ":authority: a", ":path: /upload"}
	for name, flood := range map[string]func(c *frames, n uint32) error{
		"rapid reset": func(c *frames, n uint32) error {
			c.open(2*n+1, true, get...)
			return c.WriteRSTStream(2*n+1, http2.ErrCodeCancel)
		},
		"reset by us": func(c *frames, n uint32) error {
			c.open(2*n+1, true, get...)
			return c.WriteWindowUpdate(2*n+1, 0)
		},
		"settings": func(c *frames, _ uint32) error { return c.WriteSettings() },
		"ping":     func(c *frames, _ uint32) error { return c.WritePing(false, [8]byte{}) },
		"priority": func(c *frames, n uint32) error { return c.WritePriority(2*n+1, http2.PriorityParam{Weight: 1}) },
		"window":   func(c *frames, _ uint32) error { return c.WriteWindowUpdate(0, 1) },
		"empty DATA": func(c *frames, n uint32) error {
			if n == 0 {
				return c.open(1, false, post...)
			}
			return c.WriteData(1, false, nil)
		},
		"tiny DATA": func(c *frames, n uint32) error {
			if n == 0 {
				return c.open(1, false, post...)
			}
			return c.WriteData(1, false, []byte("x"))
		},
		"continuation": func(c *frames, n uint32) error {
			if n == 0 {
				return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.encode(get...)})
			}
			return c.WriteContinuation(1, false, nil)
		},
		"header list": func(c *frames, n uint32) error {
			if n == 0 {
				return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.encode(get...)})
			}
			return c.WriteContinuation(1, false, c.encode(fmt.Sprintf("x%d: %s", n, strings.Repeat("~", 9000))))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all sync.WaitGroup
			for range 4 {
				c := dial(t, h)
				all.Go(func() {
					go func() {
						for n := uint32(0); n < 100_000 && flood(c, n) == nil; n++ {
						}
					}()
					if got := c.away(); got != "ENHANCE_YOUR_CALM" {
						t.Errorf("ended with %s", got)
					}
				})
			}
			all.Wait()
			if r := h.HTTP2().With(t).Get("/status?code=200&body=own"); r.Text() != "own" {
				t.Errorf("then answered %q", r.Text())
			}
			if kib := resident(t, h.Pid); kib > 200<<10 {
				t.Errorf("%d KiB of memory", kib)
			}
		})
	}
}

// resident is how much memory a process has, in KiB.
func resident(t *testing.T, pid int) (kib int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	fmt.Sscan(rest, &kib)
	return kib
}
