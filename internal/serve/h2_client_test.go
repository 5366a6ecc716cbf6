package serve

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2client speaks HTTP/2 by frames, so that it can break every rule. It is
// used by one goroutine.
type h2client struct {
	tb    testing.TB
	nc    net.Conn
	fr    *http2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
	next  uint32
	heads map[uint32]string
	data  map[uint32]string
	ended map[uint32]string // how: "end" or an error code
	away  *http2.GoAwayFrame
	debug string
	acked int // settings of ours that the server acknowledged
	pongs int

	granted int // by window updates of the connection
}

// dial2 opens a connection and sends the preface and these settings.
func (v *host) dial2(settings ...http2.Setting) *h2client {
	v.tb.Helper()
	nc := v.dial()
	c := &h2client{tb: v.tb, nc: nc, fr: http2.NewFramer(nc, nc), next: 1,
		heads: map[uint32]string{}, data: map[uint32]string{}, ended: map[uint32]string{}}
	c.enc = hpack.NewEncoder(&c.block)
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.fr.AllowIllegalWrites = true
	if _, err := io.WriteString(nc, http2.ClientPreface); err != nil {
		v.tb.Fatal(err)
	}
	c.fr.WriteSettings(settings...)
	return c
}

// encode makes a header block of "name: value" lines.
func (c *h2client) encode(fields ...string) []byte {
	c.block.Reset()
	_, secure := c.nc.(secureSocket)
	for _, f := range fields {
		if secure && f == ":scheme: http" {
			f = ":scheme: https"
		}
		i := strings.Index(f[1:], ":") + 1
		c.enc.WriteField(hpack.HeaderField{Name: f[:i], Value: strings.TrimPrefix(f[i+1:], " ")})
	}
	return bytes.Clone(c.block.Bytes())
}

// head is the head of a request.
func head(method, path string, fields ...string) []string {
	return append([]string{":method: " + method, ":scheme: http", ":authority: a", ":path: " + path}, fields...)
}

// open sends the head of a request and returns its stream.
func (c *h2client) open(end bool, fields ...string) uint32 {
	c.tb.Helper()
	id := c.next
	c.next += 2
	b := c.encode(fields...)
	n := min(len(b), 16<<10)
	err := c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: b[:n], EndStream: end, EndHeaders: n == len(b)})
	for b = b[n:]; len(b) > 0 && err == nil; b = b[n:] {
		n = min(len(b), 16<<10)
		err = c.fr.WriteContinuation(id, n == len(b), b[:n])
	}
	if err != nil {
		c.tb.Fatal(err)
	}
	return id
}

func (c *h2client) get(path string) uint32 { return c.open(true, head("GET", path)...) }

// post sends a request with a body in one piece.
func (c *h2client) post(path, body string, fields ...string) uint32 {
	id := c.open(false, head("POST", path, fields...)...)
	c.fr.WriteData(id, true, []byte(body))
	return id
}

// read takes one frame. It reports false at the end of the connection.
func (c *h2client) read() bool {
	f, err := c.fr.ReadFrame()
	if err != nil {
		return false
	}
	id := f.Header().StreamID
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		for _, h := range f.Fields {
			if h.Name != "date" {
				c.heads[id] += h.Name + ": " + h.Value + "\n"
			}
		}
		if f.StreamEnded() {
			c.ended[id] = "end"
		}
	case *http2.DataFrame:
		c.data[id] += string(f.Data())
		if n := f.Header().Length; n > 0 && c.next > 0 {
			c.fr.WriteWindowUpdate(0, n)
		}
		if f.StreamEnded() {
			c.ended[id] = "end"
		}
	case *http2.RSTStreamFrame:
		if c.ended[id] == "" {
			c.ended[id] = f.ErrCode.String()
		} else {
			c.ended[id] += " " + f.ErrCode.String()
		}
	case *http2.GoAwayFrame:
		if c.away == nil || f.ErrCode != http2.ErrCodeNo || f.LastStreamID != c.away.LastStreamID {
			c.debug = string(f.DebugData())
			g := *f
			c.away = &g
		}
	case *http2.SettingsFrame:
		if f.IsAck() {
			c.acked++
		} else {
			c.fr.WriteSettingsAck()
		}
	case *http2.WindowUpdateFrame:
		if id == 0 {
			c.granted += int(f.Increment)
		}
	case *http2.PingFrame:
		if f.IsAck() {
			c.pongs++
		} else {
			c.fr.WritePing(true, f.Data)
		}
	}
	return true
}

// until reads frames for as long as something is not so.
func (c *h2client) until(what string, is func() bool) {
	c.tb.Helper()
	for !is() {
		if !c.read() {
			c.tb.Fatalf("the connection ended before %s; %v", what, c.away)
		}
	}
}

// answer waits for the end of a stream and returns head and body.
func (c *h2client) answer(id uint32) string {
	c.tb.Helper()
	c.until(fmt.Sprintf("stream %d had", id), func() bool { return c.ended[id] != "" })
	s := c.heads[id] + "\n" + c.data[id]
	if c.ended[id] != "end" {
		s += "[" + c.ended[id] + "]"
	}
	return s
}

// rest reads to the end of the connection and returns the code that it was
// ended with.
func (c *h2client) rest() string {
	for c.read() {
	}
	if c.away == nil {
		return "no GOAWAY"
	}
	return c.away.ErrCode.String()
}
