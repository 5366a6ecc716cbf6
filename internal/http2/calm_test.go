package http2

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// request opens a stream and has it answered.
func (p *peer) request(id uint32) {
	p.headers(id, true, get()...)
	p.run()
	p.answer(id)
}

func (p *peer) answer(id uint32) {
	s := p.open[id]
	if s == nil {
		return
	}
	p.c.WriteHead(s, &Head{Status: 200, Length: 0, End: true})
	p.c.Release(s)
	delete(p.open, id)
}

// Each flood is one round of what costs us work and brings nobody anything.
// The connection ends with ENHANCE_YOUR_CALM after so many rounds at most,
// and what it would send meanwhile stays small.
func TestFloods(t *testing.T) {
	t.Parallel()
	open := func(p *peer) { p.headers(1, false, post()...) }
	reset := func(p *peer) { p.headers(1, true, ":method: GET") } // by us
	for _, test := range []struct {
		name  string
		most  int
		begin func(p *peer)
		round func(p *peer, id uint32)
	}{
		{"rapid reset", 250, nil, func(p *peer, id uint32) {
			p.headers(id, true, get()...)
			p.fr.WriteRSTStream(id, http2.ErrCodeCancel)
		}},
		{"resets that we are brought to send", 250, nil, func(p *peer, id uint32) {
			p.headers(id, true, get()...)
			p.fr.WriteWindowUpdate(id, 0)
		}},
		{"malformed requests", 250, nil, func(p *peer, id uint32) { p.headers(id, true, ":method: GET") }},
		{"streams beyond the limit", 250, func(p *peer) {
			for i := range uint32(limits.Streams) {
				p.headers(200_001+2*i, true, get()...)
			}
		}, func(p *peer, id uint32) { p.headers(300_000+id, true, get()...) }},
		{"settings", 200, nil, func(p *peer, _ uint32) { p.fr.WriteSettings() }},
		{"acknowledged settings", 2000, nil, func(p *peer, _ uint32) { p.fr.WriteSettingsAck() }},
		{"many settings in one frame", 1, nil, func(p *peer, _ uint32) {
			p.fr.WriteSettings(slices.Repeat([]http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 1}}, 100)...)
		}},
		{"ping", 1000, nil, func(p *peer, _ uint32) { p.fr.WritePing(false, [8]byte{}) }},
		{"pong", 1000, nil, func(p *peer, _ uint32) { p.fr.WritePing(true, [8]byte{}) }},
		{"pong, as if we had asked", 1000, nil, func(p *peer, _ uint32) { p.fr.WritePing(true, pingData) }},
		{"priority", 2000, nil, func(p *peer, id uint32) { p.fr.WritePriority(id, http2.PriorityParam{Weight: 1}) }},
		{"unknown frames", 2000, nil, func(p *peer, id uint32) { p.fr.WriteRawFrame(0xee, 0, id, nil) }},
		{"window updates", 2000, nil, func(p *peer, _ uint32) { p.fr.WriteWindowUpdate(0, 1) }},
		{"window updates of a stream", 2000, open, func(p *peer, _ uint32) { p.fr.WriteWindowUpdate(1, 1) }},
		{"empty DATA", 2000, open, func(p *peer, _ uint32) { p.fr.WriteData(1, false, nil) }},
		{"tiny DATA", 2000, open, func(p *peer, _ uint32) { p.fr.WriteData(1, false, []byte("x")) }},
		{"empty DATA behind our reset", 2000, reset, func(p *peer, _ uint32) { p.fr.WriteData(1, false, nil) }},
		{"the end behind our reset", 2000, reset, func(p *peer, _ uint32) { p.fr.WriteData(1, true, nil) }},
		{"HEADERS behind our reset", 250, reset, func(p *peer, _ uint32) { p.headers(1, true, get()...) }},
		{"requests behind the last call", 250, func(p *peer) {
			open(p)
			p.run()
			p.c.Leave()
			p.c.LastCall()
		}, func(p *peer, id uint32) { p.headers(id+2, true, get()...) }},
		{"padding alone", 2000, open, func(p *peer, _ uint32) { p.fr.WriteDataPadded(1, false, nil, make([]byte, 200)) }},
		{"continuation", 20, func(p *peer) {
			p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.encode(get()...)})
		}, func(p *peer, _ uint32) { p.fr.WriteContinuation(1, false, nil) }},
		{"a header block that grows", 20, func(p *peer) {
			p.headers(1, true, get("x: "+strings.Repeat("x", 4000))...) // into the table of HPACK
		}, func(p *peer, id uint32) { // 16,000 times that value, in as many bytes
			p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id + 2, BlockFragment: slices.Repeat([]byte{0xbe}, 16000), EndStream: true, EndHeaders: true})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPeer(t)
			if test.begin != nil {
				test.begin(p)
				p.run()
			}
			n := 0
			for id := uint32(1); p.err == nil && n <= test.most; id += 2 {
				test.round(p, id)
				p.run()
				if s := p.open[id]; s != nil && s.Reset() {
					p.c.Release(s) // as a driver does, once the work is broken off
					delete(p.open, id)
				}
				if pending := p.c.Pending(); pending > 1000 {
					t.Fatalf("round %d: %d bytes to send", n, pending)
				}
				p.answered()
				n++
			}
			if e, ok := p.err.(*Error); !ok || e.Code != EnhanceYourCalm {
				t.Errorf("after %d rounds: %v", n, p.err)
			}
		})
	}
}

// A client whose streams are reset faster than the work for them ends is sent
// away, before more is begun.
func TestWorkThatIsNotBrokenOff(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	n := 0
	for id := uint32(1); p.err == nil && n < 100; id += 2 {
		p.headers(id, true, get()...)
		p.fr.WriteRSTStream(id, http2.ErrCodeCancel)
		p.run()
		n++
	}
	if n > 2*limits.Streams+1 || p.c.Streams() > 2*limits.Streams {
		t.Errorf("%d streams were begun, %d are worked for; the limit is %d", n, p.c.Streams(), limits.Streams)
	}
}

// What good clients do for ever is taken for ever.
func TestPatience(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		round func(p *peer, id uint32)
	}{
		{"requests", func(p *peer, id uint32) { p.request(id) }},
		{"two resets for each request that is answered", func(p *peer, id uint32) {
			p.request(3*id - 2)
			for _, reset := range []uint32{3 * id, 3*id + 2} {
				p.headers(reset, true, get()...)
				p.fr.WriteRSTStream(reset, http2.ErrCodeCancel)
				p.run()
				p.c.Release(p.open[reset])
			}
		}},
		{"a window update and a ping for each frame of a download", func(p *peer, id uint32) {
			if id == 1 {
				p.headers(id, true, get()...)
				p.run()
			}
			p.c.Data(p.open[1], make([]byte, 100), false)
			p.fr.WriteWindowUpdate(0, 100)
			p.fr.WriteWindowUpdate(1, 100)
		}},
		{"messages of 5 bytes", func(p *peer, id uint32) {
			if id == 1 {
				p.headers(id, false, post()...)
				p.run()
			}
			p.fr.WriteData(1, false, []byte("hello"))
			p.run()
			p.c.Taken(p.open[1], 5)
		}},
		{"a key pressed ten times a second, and echoed", func(p *peer, id uint32) {
			if id == 1 {
				p.headers(id, false, post()...)
				p.run()
			}
			p.now += int64(time.Second) / 10
			p.fr.WriteData(1, false, []byte("x"))
			p.run()
			p.c.Taken(p.open[1], 1)
		}},
		{"a ping every second", func(p *peer, _ uint32) {
			p.now += int64(time.Second)
			p.fr.WritePing(false, [8]byte{})
		}},
		{"four resets in a second", func(p *peer, id uint32) {
			p.now += int64(time.Second) / 4
			p.headers(id, true, get()...)
			p.fr.WriteRSTStream(id, http2.ErrCodeCancel)
			p.run()
			p.c.Release(p.open[id])
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPeer(t)
			for i := range uint32(20_000) {
				test.round(p, 2*i+1)
				p.run()
				p.log = p.log[:0]
				if p.answered(); p.err != nil {
					t.Fatalf("round %d: %v", i, p.err)
				}
			}
		})
	}
}
