package h2

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/perchserver/perch/test/harness"
)

// frames is a connection on which frames are written by hand. One goroutine
// writes; what comes back is read by end and reset.
type frames struct {
	*http2.Framer
	nc    net.Conn
	block bytes.Buffer
	enc   *hpack.Encoder
}

// dial begins a connection of HTTP/2 with prior knowledge.
func dial(t testing.TB, h *harness.Host) *frames {
	t.Helper()
	c := harness.Dial(t, h.Addr())
	f := &frames{Framer: http2.NewFramer(c, c), nc: c}
	f.AllowIllegalWrites = true
	f.enc = hpack.NewEncoder(&f.block)
	io.WriteString(c, http2.ClientPreface)
	f.WriteSettings()
	return f
}

// encode makes a header block of "name: value" lines.
func (f *frames) encode(fields ...string) []byte {
	f.block.Reset()
	for _, line := range fields {
		i := strings.Index(line[1:], ":") + 1
		f.enc.WriteField(hpack.HeaderField{Name: line[:i], Value: strings.TrimPrefix(line[i+1:], " ")})
	}
	return bytes.Clone(f.block.Bytes())
}

func (f *frames) open(id uint32, end bool, fields ...string) error {
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: f.encode(fields...), EndStream: end, EndHeaders: true})
}

// away reads to the end of the connection and returns the code that it ended
// with, as long as the test has time.
func (f *frames) away() string {
	code := "no GOAWAY"
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return code
		}
		if g, ok := frame.(*http2.GoAwayFrame); ok {
			code = g.ErrCode.String()
		}
	}
}

// result reads until a stream has ended and returns its status, or the code
// that it was reset with.
func (f *frames) result(id uint32) string {
	dec := hpack.NewDecoder(4096, nil)
	status := ""
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return "the connection ended"
		}
		if frame.Header().StreamID != id {
			continue
		}
		switch frame := frame.(type) {
		case *http2.RSTStreamFrame:
			return frame.ErrCode.String()
		case *http2.HeadersFrame:
			fields, _ := dec.DecodeFull(frame.HeaderBlockFragment())
			status = fields[0].Value
		}
		if e, ok := frame.(interface{ StreamEnded() bool }); ok && e.StreamEnded() {
			return status
		}
	}
}

// soon is a pause between frames that are to arrive apart.
const soon = 20 * time.Millisecond
