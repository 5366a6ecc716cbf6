package static

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/exchange/exchangetest"
)

// discard is a writer that takes everything.
type discard struct{ io.Writer }

func (discard) WriteHead(*exchange.Exchange) error                  { return nil }
func (discard) ReadFrom(r io.Reader) (int64, error)                 { return r.(*io.SectionReader).Size(), nil }
func (discard) Flush() error                                        { return nil }
func (discard) Inform(int, *exchange.Header) error                  { return nil }
func (discard) Upgrade(*exchange.Exchange) (exchange.Stream, error) { return nil, nil }

// BenchmarkServe is one small file in a folder below the root, without the
// work of the driver.
func BenchmarkServe(b *testing.B) {
	root := b.TempDir()
	if err := os.Mkdir(filepath.Join(root, "css"), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "css", "site.css"), make([]byte, 1024), 0o644); err != nil {
		b.Fatal(err)
	}
	h, err := New(Settings{Root: root})
	if err != nil {
		b.Fatal(err)
	}
	x, _ := exchangetest.New("GET", "/css/site.css")
	x.Response.Writer = discard{io.Discard}
	b.ReportAllocs()
	for b.Loop() {
		x.Response.Header.Reset()
		if err := h.Serve(x); err != nil {
			b.Fatal(err)
		}
	}
}
