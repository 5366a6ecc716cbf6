package http2

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"golang.org/x/net/http2"
)

// FuzzFrames feeds anything to a connection that a driver serves: nothing
// panics, what is sent stays in proportion and is well formed, and what is
// counted is what there is.
func FuzzFrames(f *testing.F) {
	seed := func(write func(p *peer)) {
		p := newPeer(f)
		p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
		write(p)
		f.Add(bytes.Clone(p.in.Bytes()))
	}
	seed(func(p *peer) { p.headers(1, true, get("x: y", "cookie: a", "cookie: b")...) })
	seed(func(p *peer) {
		p.headers(1, false, post("content-length: 5")...)
		p.fr.WriteDataPadded(1, false, []byte("he"), []byte{0, 0})
		p.fr.WriteData(1, true, []byte("llo"))
		p.headers(3, false, ":method: CONNECT", ":protocol: websocket", ":scheme: http", ":authority: a", ":path: /")
		p.fr.WriteRSTStream(3, http2.ErrCodeCancel)
		p.headers(1, true, "x: y")
	})
	seed(func(p *peer) {
		b := p.encode(get()...)
		p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:3], EndStream: true})
		p.fr.WriteContinuation(1, true, b[3:])
		p.fr.WriteWindowUpdate(0, 100)
		p.fr.WriteWindowUpdate(1, 100)
		p.fr.WritePing(false, [8]byte{1})
		p.fr.WritePriority(1, http2.PriorityParam{StreamDep: 3})
		p.fr.WriteGoAway(0, 0, nil)
	})
	f.Fuzz(func(t *testing.T, in []byte) {
		p := newPeer(t)
		p.in.Write(in)
		for p.err == nil {
			if err := p.c.Next(); err != nil {
				if err != io.EOF && err != io.ErrUnexpectedEOF {
					t.Fatalf("Next: %v", err)
				}
				break
			}
			ev, err := p.c.Take(p.now)
			p.err = err
			p.event(ev)
			p.serve(ev)
		}
		var e *Error
		if p.err != nil && !errors.As(p.err, &e) {
			t.Fatalf("%v is no *Error", p.err)
		}
		if p.c.open != len(p.c.streams) || p.c.open > limits.Streams || p.c.held > 2*limits.Streams {
			t.Fatalf("open %d, in the table %d, held %d", p.c.open, len(p.c.streams), p.c.held)
		}
		if n, most := p.c.Pending(), 200*len(in)+10_000; n > most {
			t.Fatalf("%d bytes to send for %d", n, len(in))
		}
		p.answered()
	})
}

// serve does what a driver would: it answers when a request has ended, and
// lets go of streams.
func (p *peer) serve(ev Event) {
	if ev.Kind == Body {
		p.c.Taken(ev.Stream, len(ev.Data))
	}
	for id, s := range p.open {
		switch {
		case s.Ended() && !s.Closed():
			p.c.WriteHead(s, &Head{Status: 200, Length: -1, Date: "now"})
			n, _ := p.c.Sendable(s)
			p.c.Data(s, make([]byte, min(n, 100)), false)
			p.c.WriteTrailer(s, nil)
		case !s.Closed():
			continue
		}
		p.c.Release(s)
		delete(p.open, id)
	}
}
