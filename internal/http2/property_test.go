package http2

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"pgregory.net/rapid"
)

// model is RFC 9113 section 5.1 as a table: what a frame of the client does
// to a stream in a state, and how the server answers.
type model struct {
	state map[uint32]string // idle is absent
	last  uint32
}

// frame returns what is expected: "" for no error, "stream" with a code for a
// reset, "connection" with a code.
func (m *model) frame(kind string, id uint32, end bool) string {
	state := m.state[id]
	if state == "" && id <= m.last {
		state = "skipped"
	}
	closes := func(next string) string {
		if end {
			m.state[id] = next
		}
		return ""
	}
	broken := func(code http2.ErrCode) string {
		m.state[id] = "reset by us"
		return "stream " + code.String()
	}
	switch state + " " + kind {
	case " HEADERS":
		m.last = id
		m.state[id] = "open"
		return closes("half-closed")
	case " DATA", " RST_STREAM", " WINDOW_UPDATE":
		return "connection PROTOCOL_ERROR"
	case "skipped HEADERS":
		return "connection PROTOCOL_ERROR"
	case "skipped DATA", "closed HEADERS":
		return "connection STREAM_CLOSED"
	case "open DATA":
		return closes("half-closed")
	case "answered DATA":
		return closes("closed")
	case "open HEADERS", "answered HEADERS": // a trailer
		if !end {
			return broken(http2.ErrCodeProtocol)
		}
		m.state[id] = map[string]string{"open": "half-closed", "answered": "closed"}[state]
	case "half-closed DATA", "half-closed HEADERS":
		return broken(http2.ErrCodeStreamClosed)
	case "open RST_STREAM", "answered RST_STREAM", "half-closed RST_STREAM":
		m.state[id] = "closed"
	case "closed DATA":
		return "stream STREAM_CLOSED"
	}
	return ""
}

// answer is what the server does: it ends its side, or breaks the stream off.
func (m *model) answer(id uint32, reset bool) {
	switch {
	case reset:
		m.state[id] = "reset by us"
	case m.state[id] == "open":
		m.state[id] = "answered"
	case m.state[id] == "half-closed":
		m.state[id] = "closed"
	}
}

// Any sequence of frames and answers brings every stream to the state of the
// model, and every frame to its error.
func TestStreamStates(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := newPeer(fatal{T: nil, r: t})
		m := &model{state: map[uint32]string{}}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			id := rapid.SampledFrom([]uint32{1, 3, 5, 7}).Draw(t, "stream")
			if s := p.open[id]; s != nil && rapid.IntRange(0, 3).Draw(t, "server") == 0 {
				if m.state[id] == "open" || m.state[id] == "half-closed" {
					reset := rapid.Bool().Draw(t, "reset")
					if reset {
						p.c.Reset(s, Cancel)
					} else {
						p.c.WriteHead(s, &Head{Status: 200, Length: -1, End: true})
					}
					m.answer(id, reset)
					p.answered()
				}
				continue
			}
			kind := rapid.SampledFrom([]string{"HEADERS", "DATA", "RST_STREAM", "WINDOW_UPDATE", "PRIORITY"}).Draw(t, "frame")
			end := rapid.Bool().Draw(t, "end")
			want := m.frame(kind, id, end)
			switch kind {
			case "HEADERS":
				fields := post()
				if p.open[id] != nil {
					fields = []string{"x: 1"}
				}
				p.headers(id, end, fields...)
			case "DATA":
				p.fr.WriteData(id, end, []byte("hello"))
			case "RST_STREAM":
				p.fr.WriteRSTStream(id, http2.ErrCodeCancel)
			case "WINDOW_UPDATE":
				p.fr.WriteWindowUpdate(id, 1)
			case "PRIORITY":
				p.fr.WritePriority(id, http2.PriorityParam{})
			}
			p.run()
			got := ""
			for _, f := range p.answered() {
				if code, ok := strings.CutPrefix(f, fmt.Sprintf("RST_STREAM %d ", id)); ok {
					got = "stream " + code
				}
			}
			if e, ok := p.err.(*Error); ok {
				got = "connection " + http2.ErrCode(e.Code).String()
			}
			if got != want {
				t.Fatalf("%s on stream %d, end %v: %q, want %q; states %v", kind, id, end, got, want, m.state)
			}
			if p.err != nil {
				return
			}
			m.compare(t, p)
		}
	})
}

func (m *model) compare(t *rapid.T, p *peer) {
	open := 0
	for id, s := range p.open {
		state := m.state[id]
		if state == "open" || state == "answered" || state == "half-closed" {
			open++
		}
		if reset := state == "reset by us"; reset && !s.Reset() {
			t.Fatalf("stream %d is not reset", id)
		}
		if ended := state == "half-closed"; ended && !s.Ended() || state == "open" && s.Ended() {
			t.Fatalf("stream %d: ended %v, want %s", id, s.Ended(), state)
		}
		if (state == "answered" || state == "closed") && !s.Closed() {
			t.Fatalf("stream %d can still be sent on, being %s", id, state)
		}
	}
	if p.c.open != open {
		t.Fatalf("%d streams count as open, want %d: %v", p.c.open, open, m.state)
	}
}

// fatal lets a rapid check stand in for a test.
type fatal struct {
	*testing.T
	r *rapid.T
}

func (f fatal) Fatalf(format string, a ...any) { f.r.Fatalf(format, a...) }

// Whatever a client sends within its windows is taken, and each byte that is
// taken comes back to it in time: the window, what is in memory, and what was
// not given back yet always are the limit, and the latter is less than half.
func TestReceiveWindows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := newPeer(fatal{r: t})
		held := map[uint32]int32{} // bytes in the memory of a driver
		window := map[uint32]int32{0: limits.ConnWindow}
		for _, id := range []uint32{1, 3, 5} {
			p.headers(id, false, post()...)
			window[id] = limits.StreamWindow
		}
		p.run()
		p.answered()
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			id := rapid.SampledFrom([]uint32{1, 3, 5}).Draw(t, "stream")
			s := p.open[id]
			if rapid.Bool().Draw(t, "send") {
				n := min(rapid.Int32Range(0, frameSize-256).Draw(t, "bytes"), window[0]-256, window[id]-256)
				if n <= 0 {
					continue
				}
				pad := rapid.IntRange(0, 200).Draw(t, "padding")
				p.fr.WriteDataPadded(id, false, make([]byte, n), make([]byte, pad))
				window[0] -= n + int32(pad) + 1
				window[id] -= n + int32(pad) + 1
				held[id] += n
				p.run()
			} else if held[id] > 0 {
				n := rapid.Int32Range(1, held[id]).Draw(t, "taken")
				p.c.Taken(s, int(n))
				held[id] -= n
			}
			for _, f := range p.answered() {
				var on, n uint32
				if _, err := fmt.Sscanf(f, "WINDOW_UPDATE %d %d", &on, &n); err == nil {
					window[on] += int32(n)
				}
			}
			if p.err != nil {
				t.Fatal(p.err)
			}
			if all := held[1] + held[3] + held[5]; window[0] != p.c.receive || window[0]+all+p.c.returned != limits.ConnWindow || p.c.returned >= limits.ConnWindow/2 {
				t.Fatalf("connection: the client has %d, we %d; %d held, %d not returned", window[0], p.c.receive, all, p.c.returned)
			}
			if window[id] != s.receive || window[id]+held[id]+s.returned != limits.StreamWindow || s.returned >= limits.StreamWindow/2 {
				t.Fatalf("stream %d: the client has %d, we %d; %d held, %d not returned", id, window[id], s.receive, held[id], s.returned)
			}
		}
	})
}

// No more is sent than the client's windows allow for, whatever it does to
// them meanwhile, and all of it when they allow for it (RFC 9113 section
// 6.9.2: a window may become negative).
func TestSendWindows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := newPeer(fatal{r: t})
		first := int64(initialWindow)
		window := map[uint32]int64{0: first, 1: first, 3: first}
		p.headers(1, true, get()...)
		p.headers(3, true, get()...)
		p.run()
		p.answered()
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			id := rapid.SampledFrom([]uint32{1, 3}).Draw(t, "stream")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				v := rapid.Int64Range(0, 100_000).Draw(t, "setting")
				p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(v)})
				window[1], window[3], first = window[1]+v-first, window[3]+v-first, v
			case 1:
				on := rapid.SampledFrom([]uint32{0, id}).Draw(t, "of")
				n := rapid.Int64Range(1, 50_000).Draw(t, "increment")
				p.fr.WriteWindowUpdate(on, uint32(n))
				window[on] += n
			default:
				want := max(min(window[0], window[id], frameSize), 0)
				n, ofStream := p.c.Sendable(p.open[id])
				if int64(n) != want || ofStream != (window[id] <= 0) {
					t.Fatalf("stream %d may send %d (%v), want %d of %v", id, n, ofStream, want, window)
				}
				p.c.Data(p.open[id], make([]byte, n), false)
				window[0] -= int64(n)
				window[id] -= int64(n)
			}
			p.run()
			if p.answered(); p.err != nil {
				t.Fatal(p.err)
			}
		}
	})
}

// A window beyond 2^31-1 is an error of what it belongs to.
func TestWindowOverflow(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	p.headers(1, true, get()...)
	p.fr.WriteWindowUpdate(1, maxWindow)
	p.run()
	if got := p.answered(); len(got) == 0 || got[0] != "RST_STREAM 1 FLOW_CONTROL_ERROR" || p.err != nil {
		t.Errorf("stream: %q, %v", got, p.err)
	}
	p.headers(3, true, get()...)
	p.fr.WriteWindowUpdate(3, 1<<30)
	p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	p.run()
	if e, ok := p.err.(*Error); !ok || e.Code != FlowControlError {
		t.Errorf("settings: %v", p.err)
	}
	p = newPeer(t)
	p.fr.WriteWindowUpdate(0, maxWindow)
	p.run()
	if e, ok := p.err.(*Error); !ok || e.Code != FlowControlError {
		t.Errorf("connection: %v", p.err)
	}
}
