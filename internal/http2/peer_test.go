package http2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
)

var limits = Limits{
	Head:         http1.Limits{Line: 8 << 10, Fields: 32 << 10, Count: 100},
	Streams:      10,
	Scheme:       "http",
	StreamWindow: 64 << 10,
	ConnWindow:   128 << 10,
	Calm:         1000,
	CalmSecond:   50,
}

// peer is a client of a Conn, or its server, and what a driver would be: it keeps what
// happened as lines of text.
type peer struct {
	tb      testing.TB
	c       *Conn
	now     int64
	in      bytes.Buffer
	fr      *http2.Framer // writes to in
	answers *http2.Framer // reads what the Conn sends
	sent    bytes.Buffer
	block   bytes.Buffer
	enc     *hpack.Encoder
	open    map[uint32]*Stream
	log     []string
	err     error // that ended the connection
}

func newPeer(tb testing.TB) *peer {
	p := preparePeer(tb, NewConn(limits, 1))
	p.fr.WriteSettings()
	p.run()
	p.answered()
	return p
}

func preparePeer(tb testing.TB, c *Conn) *peer {
	p := &peer{tb: tb, open: map[uint32]*Stream{}, now: 1, c: c}
	p.c.Wake(&p.in)
	p.fr = http2.NewFramer(&p.in, nil)
	p.fr.AllowIllegalWrites = true
	p.answers = http2.NewFramer(nil, &p.sent)
	p.answers.ReadMetaHeaders = hpack.NewDecoder(tableSize, nil)
	p.enc = hpack.NewEncoder(&p.block)
	return p
}

func (p *peer) note(format string, a ...any) { p.log = append(p.log, fmt.Sprintf(format, a...)) }

// run feeds all that was written to the connection.
func (p *peer) run() {
	for p.err == nil {
		if err := p.c.Next(); err != nil {
			if err != io.EOF && err != io.ErrUnexpectedEOF {
				p.tb.Fatalf("Next: %v", err)
			}
			return
		}
		ev, err := p.c.Take(p.now)
		p.event(ev)
		if err != nil {
			p.err = err
			var e *Error
			if !errors.As(err, &e) {
				p.tb.Fatalf("Take: %v is no *Error", err)
			}
			p.note("connection error %d", e.Code)
		}
	}
}

func (p *peer) event(ev Event) {
	switch ev.Kind {
	case Request:
		s, r := new(Stream), &exchange.Request{}
		text, err := p.c.Accept(s, p, r, nil)
		_ = text
		if err != nil {
			p.note("refused %v", err)
		} else {
			var fields []string
			for i := range r.Header.Fields {
				fields = append(fields, fmt.Sprintf("%s=%s", r.Header.Fields[i].NameBytes(), r.Header.Fields[i].Value))
			}
			p.note("request %s %s %s length %d", r.Method, r.Target.Forward, strings.Join(fields, " "), r.Length)
		}
		p.open[s.ID()] = s
	case Response:
		var r http1.ResponseHead
		p.c.Response(&r, nil)
		line := fmt.Sprintf("response %d length %d", r.Status, r.Length)
		for i := range r.Header.Fields {
			line += fmt.Sprintf(" %s=%s", r.Header.Fields[i].NameBytes(), r.Header.Fields[i].Value)
		}
		if ev.Stream.Ended() {
			line += " end"
		}
		p.note("%s", line)
	case Body:
		line := fmt.Sprintf("body %q", ev.Data)
		for i := range ev.Trailer {
			line += fmt.Sprintf(" %s=%s", ev.Trailer[i].NameBytes(), ev.Trailer[i].Value)
		}
		if ev.Stream.Ended() {
			line += " end"
		}
		p.note("%s", line)
	case Broken:
		if ev.Why != "" {
			p.note("malformed: %s", ev.Why)
		} else {
			p.note("reset")
		}
	}
}

// answered returns what the connection has sent since, frame by frame.
func (p *peer) answered() (frames []string) {
	p.sent.Write(p.c.Out(nil))
	for {
		f, err := p.answers.ReadFrame()
		if err != nil {
			if err != io.EOF {
				p.tb.Fatalf("sent something malformed: %v", err)
			}
			return frames
		}
		line := fmt.Sprintf("%v %d", f.Header().Type, f.Header().StreamID)
		switch f := f.(type) {
		case *http2.RSTStreamFrame:
			line += " " + f.ErrCode.String()
		case *http2.WindowUpdateFrame:
			line += fmt.Sprintf(" %d", f.Increment)
		case *http2.MetaHeadersFrame:
			for _, h := range f.Fields {
				line += fmt.Sprintf(" %s=%s", h.Name, h.Value)
			}
		case *http2.DataFrame:
			line += fmt.Sprintf(" %d", len(f.Data()))
		case *http2.SettingsFrame:
			line += fmt.Sprintf(" ack %v", f.IsAck())
		}
		if e, ok := f.(interface{ StreamEnded() bool }); ok && e.StreamEnded() {
			line += " end"
		}
		frames = append(frames, line)
	}
}

// encode makes a header block of "name: value" lines.
func (p *peer) encode(fields ...string) []byte {
	p.block.Reset()
	for _, f := range fields {
		name, value := "", ""
		if f != "" {
			i := strings.Index(f[1:], ":") + 1
			name, value = f[:i], strings.TrimPrefix(f[i+1:], " ")
		}
		p.enc.WriteField(hpack.HeaderField{Name: name, Value: value})
	}
	return bytes.Clone(p.block.Bytes())
}

func (p *peer) headers(id uint32, end bool, fields ...string) {
	p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.encode(fields...), EndStream: end, EndHeaders: true})
}

// get is the head of a request.
func get(fields ...string) []string {
	return append([]string{":method: GET", ":scheme: http", ":authority: a", ":path: /"}, fields...)
}

func post(fields ...string) []string {
	return append([]string{":method: POST", ":scheme: http", ":authority: a", ":path: /"}, fields...)
}
