package static

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/exchange/exchangetest"
	"github.com/perchserver/perch/internal/serve"
	"github.com/perchserver/perch/internal/sockio"
)

// discard is a writer that takes everything.
type discard struct{ io.Writer }

func (discard) WriteHead(*exchange.Exchange) error                  { return nil }
func (discard) ReadFrom(r io.Reader) (int64, error)                 { return r.(*io.SectionReader).Size(), nil }
func (discard) Flush() error                                        { return nil }
func (discard) Inform(int, *exchange.Header) error                  { return nil }
func (discard) Upgrade(*exchange.Exchange) (exchange.Stream, error) { return nil, nil }

// handler serves a folder with a small and a large file below the root.
func handler(tb testing.TB, files *Cache) *Handler {
	tb.Helper()
	root := tb.TempDir()
	if err := os.Mkdir(filepath.Join(root, "css"), 0o755); err != nil {
		tb.Fatal(err)
	}
	for name, size := range map[string]int{"small.css": 1 << 10, "large.css": 64 << 10} {
		name = filepath.Join(root, "css", name)
		if err := os.WriteFile(name, make([]byte, size), 0o644); err != nil {
			tb.Fatal(err)
		}
		if err := os.Chtimes(name, modified, modified); err != nil {
			tb.Fatal(err)
		}
	}
	h, err := New(Settings{Root: root, Files: files})
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

// BenchmarkServe is the work of the handler, without that of the driver:
// files that are looked up for each request, and files in a cache.
func BenchmarkServe(b *testing.B) {
	c := NewCache()
	defer c.Close()
	for name, files := range map[string]*Cache{"looked up": nil, "cached": c} {
		h := handler(b, files)
		for _, file := range []string{"small", "large"} {
			b.Run(name+"/"+file, func(b *testing.B) {
				x, _ := exchangetest.New("GET", "/css/"+file+".css")
				x.Response.Writer = discard{io.Discard}
				b.ReportAllocs()
				for b.Loop() {
					x.Response.Header.Reset()
					if err := h.Serve(x); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// A request for a file in the cache allocates nothing, from the socket and
// back. Not parallel: it counts all allocations of the process. Reading a
// body costs the client nothing either.
func TestServingACachedFileAllocatesNothing(t *testing.T) {
	h := handler(t, newCache())
	defer h.files.Close()
	watcher, err := sockio.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := serve.New(serve.Settings{Log: slog.New(slog.DiscardHandler)}, watcher, h)
	server.Serve(serve.Listener{Listener: l, URL: "http://test"})
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		server.Shutdown(ctx)
	}()
	for name, size := range map[string]int{"small": 1 << 10, "large": 64 << 10} {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(time.Minute))
		request := []byte("GET /css/" + name + ".css HTTP/1.1\r\nHost: localhost\r\n\r\n")
		buf := make([]byte, 128<<10)
		ask := func() {
			if _, err := nc.Write(request); err != nil {
				t.Fatal(err)
			}
			for n, whole := 0, size; n < whole; {
				k, err := nc.Read(buf[n:])
				if err != nil {
					t.Fatal(err)
				}
				n += k
				if head := bytes.Index(buf[:n], []byte("\r\n\r\n")); head >= 0 {
					whole = head + 4 + size
				}
			}
		}
		for range 100 {
			ask()
		}
		if held(h.files) == 0 && (size <= smallFile || staysOpen) {
			t.Fatalf("%s: the file is not in the cache", name)
		}
		const rounds = 3000
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range rounds {
			ask()
		}
		runtime.ReadMemStats(&after)
		most := uint64(rounds / 100) // of the runtime's own, and what a pool may lose to the collector
		switch {
		case size > smallFile && runtime.GOOS != "linux":
			most += 50 * rounds // goes through package net
		case raceDetector:
			most += 6 * rounds // its pools lose one in four on purpose
		}
		if n := after.Mallocs - before.Mallocs; n > most {
			t.Errorf("%s: %d allocations in %d requests", name, n, rounds)
		}
	}
}
