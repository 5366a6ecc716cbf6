package http2

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"pgregory.net/rapid"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
)

// Frames that end the connection, each with its code (RFC 9113 sections 4 to
// 6). What h2spec asks besides is asked of the whole program.
func TestConnectionErrors(t *testing.T) {
	t.Parallel()
	raw := func(kind http2.FrameType, flags http2.Flags, id uint32, payload string) func(p *peer) {
		return func(p *peer) { p.fr.WriteRawFrame(kind, flags, id, []byte(payload)) }
	}
	for _, test := range []struct {
		name string
		send func(p *peer)
		want Code
	}{
		{"padding without room for its length", raw(http2.FrameData, http2.FlagDataPadded, 1, ""), FrameSizeError},
		{"priority without room", raw(http2.FrameHeaders, http2.FlagHeadersPriority, 1, "1234"), FrameSizeError},
		{"padding and priority without room", raw(http2.FrameHeaders, http2.FlagHeadersPriority|http2.FlagHeadersPadded, 1, "12345"), FrameSizeError},
		{"short GOAWAY", raw(http2.FrameGoAway, 0, 0, "1234567"), FrameSizeError},
		{"large frame", raw(http2.FrameData, 0, 1, strings.Repeat("x", frameSize+1)), FrameSizeError},
		{"padding longer than HEADERS", raw(http2.FrameHeaders, http2.FlagHeadersPadded|http2.FlagHeadersEndHeaders, 1, "\x09abc"), ProtocolError},
		{"half a field", func(p *peer) {
			b := p.encode(get("x: y")...)
			p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:len(b)-1], EndHeaders: true})
		}, CompressionError},
		{"DATA beyond the window of the connection", func(p *peer) {
			for id := uint32(1); id <= 5; id += 2 {
				p.headers(id, false, post()...)
				for range 4 { // less than the window of the stream
					p.fr.WriteData(id, false, make([]byte, 12<<10))
				}
			}
		}, FlowControlError},
		{"PUSH_PROMISE", raw(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, 1, "\x00\x00\x00\x02"), ProtocolError},
		{"HEADERS with an even number", func(p *peer) { p.headers(2, true, get()...) }, ProtocolError},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPeer(t)
			test.send(p)
			p.run()
			if e, ok := p.err.(*Error); !ok || e.Code != test.want {
				t.Errorf("got %v, want code %d", p.err, test.want)
			}
		})
	}
	p := newPeer(t)
	p.c = NewConn(limits, 1)
	p.c.Wake(&p.in)
	p.headers(1, true, get()...)
	p.run()
	if e, ok := p.err.(*Error); !ok || e.Code != ProtocolError {
		t.Errorf("first frame HEADERS: %v", p.err)
	}
}

func TestStreamErrors(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	p.headers(1, false, post()...)
	for range 5 {
		p.fr.WriteData(1, false, make([]byte, 16000)) // 80,000 into 65,536
	}
	p.run()
	if got := p.answered(); !slices.Contains(got, "RST_STREAM 1 FLOW_CONTROL_ERROR") || p.err != nil {
		t.Errorf("beyond the window of a stream: %q, %v", got, p.err)
	}
	for i := range uint32(limits.Streams) + 1 {
		p.headers(3+2*i, true, get()...)
	}
	p.run()
	if got := p.answered(); len(got) != 1 || got[0] != fmt.Sprintf("RST_STREAM %d REFUSED_STREAM", 3+2*limits.Streams) {
		t.Errorf("beyond the streams at once: %q", got)
	}
	p.answer(3) // one less: the next is taken
	p.answered()
	p.headers(101, true, get()...)
	if p.run(); len(p.answered()) > 0 || p.open[101] == nil {
		t.Error("the next stream was refused")
	}
}

// Limits are those of HTTP/1.1: the line has its own, and a cookie that was
// taken apart is one field.
func TestLimitsAreThoseOfHTTP1(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	fields := []string{":method: GET", ":scheme: http", ":authority: a", ":path: /" + strings.Repeat("a", 4000)}
	fields = append(fields, strings.Fields(strings.Repeat("cookie:a=1 ", 150))...)
	p.headers(1, true, append(fields, "x: "+strings.Repeat("~", 3000), "y: "+strings.Repeat("~", 3000))...)
	p.run()
	if got := p.log[0]; !strings.HasPrefix(got, "request GET") || strings.Count(got, "a=1") != 150 || strings.Count(got, "Cookie=") != 1 {
		t.Errorf("got %.200s", got)
	}
	p.enc.SetMaxDynamicTableSize(0)
	for _, test := range []struct {
		bytes int // of all field lines, which HTTP/1.1 sends with ": " and CRLF
		want  string
	}{{32 << 10, "request"}, {32<<10 + 1, "refused the header fields are too large"}} {
		b := p.encode(append(slices.Clone(fields[:4]), "x: "+strings.Repeat("~", 15_995), "y: "+strings.Repeat("~", test.bytes-16_000-5-len("host: a\r\n")))...)
		id := p.c.last + 2
		p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: b[:16<<10], EndStream: true})
		p.fr.WriteContinuation(id, false, b[16<<10:32<<10])
		p.fr.WriteContinuation(id, true, b[32<<10:])
		p.run()
		if got := p.log[len(p.log)-1]; !strings.HasPrefix(got, test.want) {
			t.Errorf("%d bytes: got %.200s, want %s, %v", test.bytes, got, test.want, p.err)
		}
	}
}

// A request is refused at the same limit over both versions.
func TestLimitsProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		letters := func(least, most int) string {
			return strings.Repeat("a", rapid.IntRange(least, most).Draw(rt, "length"))
		}
		lim := http1.Limits{Line: 64, Fields: 256, Count: rapid.IntRange(1, 6).Draw(rt, "count")}
		host, path := letters(1, 20), "/"+letters(0, 60)
		second := []string{":method: GET", ":scheme: http", ":path: " + path}
		first := []string{"GET " + path + " HTTP/1.1", "Host: " + host}
		if rapid.Bool().Draw(rt, "authority") {
			second = append(second, ":authority: "+host)
		}
		if len(second) == 3 || rapid.Bool().Draw(rt, "host") {
			second = append(second, "host: "+host)
		}
		for i := range rapid.IntRange(0, 6).Draw(rt, "fields") {
			f := fmt.Sprintf("x%d: %s", i, letters(0, 80))
			first, second = append(first, f), append(second, f)
		}
		if n := rapid.IntRange(0, 4).Draw(rt, "cookies"); n > 0 {
			var all []string
			for range n {
				all = append(all, "c="+letters(0, 30))
				second = append(second, "cookie: "+all[len(all)-1])
			}
			first = append(first, "Cookie: "+strings.Join(all, "; "))
		}
		var scan http1.Scanner
		want := "request GET"
		switch _, err := scan.Scan([]byte(strings.Join(first, "\r\n")+"\r\n\r\n"), &lim); err {
		case http1.LineTooLong:
			want = err.Error()
		case http1.FieldsTooLarge, http1.TooManyFields: // which of them is found first does not matter: both are 431
			want = "header fields"
		}
		p := newPeer(t)
		p.c.lim.Head = lim
		p.headers(1, true, second...)
		p.run()
		if len(p.log) != 1 || !strings.Contains(p.log[0], want) {
			rt.Errorf("HTTP/2 %.200q, HTTP/1.1 %s", p.log, want)
		}
	})
}

func TestTrailerFieldsThatHaveNoPlaceThere(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	p.headers(1, false, post()...)
	p.headers(1, true, "content-type: text/html", "x: 1", "authorization: me", "content-length: 5")
	p.run()
	if got, want := p.log[len(p.log)-1], `body "" x=1 end`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A window is not opened for a body that has ended.
func TestNoWindowBehindTheEnd(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	p.headers(1, false, post()...)
	for i := range 4 {
		p.fr.WriteData(1, i == 3, make([]byte, 16000))
	}
	p.run()
	p.c.Taken(p.open[1], 64000)
	if got := p.answered(); slices.ContainsFunc(got, func(f string) bool { return strings.HasPrefix(f, "WINDOW_UPDATE 1 ") }) {
		t.Errorf("sent %q", got)
	}
}

// Patience grows with time, and not with every look at it.
func TestPatienceGrowsWithTime(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	ping := func() (n int) {
		for p.err == nil && n < 5000 {
			p.fr.WritePing(false, [8]byte{})
			p.run()
			p.answered()
			n++
		}
		return n
	}
	p.now += int64(3 * time.Second / 2)
	if n := ping(); n > (limits.Calm+limits.CalmSecond)/pricePing+1 {
		t.Errorf("%d pings were answered", n)
	}
}

// An encoder says so when its table becomes smaller, before it uses it again
// (RFC 7541 section 4.2).
func TestTableSize(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	p.headers(1, true, get()...)
	p.fr.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
	p.run()
	p.c.Out(nil)
	p.c.WriteHead(p.open[1], &Head{Status: 200, Length: -1})
	if out := p.c.Out(nil); len(out) < 11 || out[9] != 0x20 || out[10] != 0x88 {
		t.Errorf("sent %x, want a table of size 0 and :status 200", out)
	}
}

// A trailer has no fields that frame, route or describe the body, and is no
// frame of its own if there are no others.
func TestResponseTrailers(t *testing.T) {
	t.Parallel()
	kind, own := exchange.Field{ID: exchange.ContentType, Value: []byte("a/b")}, exchange.Field{Name: []byte("X-Own"), Value: []byte("1")}
	for _, test := range []struct {
		fields []exchange.Field
		want   string
	}{
		{[]exchange.Field{kind, own}, "HEADERS 1 x-own=1 end"},
		{[]exchange.Field{kind}, "DATA 1 0 end"},
		{nil, "DATA 1 0 end"},
	} {
		p := newPeer(t)
		p.answers.ReadMetaHeaders = hpack.NewDecoder(tableSize, nil)
		p.headers(1, true, get()...)
		p.run()
		p.c.WriteHead(p.open[1], &Head{Status: 200, Length: -1})
		p.c.WriteTrailer(p.open[1], test.fields)
		if got := p.answered(); got[len(got)-1] != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

// Whatever fields a handler gives, a client gets those that may be sent, in
// lower case and in order, through any size of the table and any number of
// frames, and nothing of what one response says leaks into another.
func TestResponseHeads(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := newPeer(fatal{r: t})
		dec := hpack.NewDecoder(tableSize, nil)
		for id := uint32(1); id < 12; id += 2 {
			if rapid.IntRange(0, 3).Draw(t, "resize") == 0 {
				size := rapid.Uint32Range(0, 8192).Draw(t, "table")
				p.fr.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: size})
				dec.SetAllowedMaxDynamicTableSize(size)
			}
			p.headers(id, true, get()...)
			p.run()
			p.c.Out(nil)
			head, want := &Head{Status: rapid.IntRange(200, 599).Draw(t, "status"), Length: -1}, ""
			want = fmt.Sprintf(":status=%d\n", head.Status)
			for range rapid.IntRange(0, 20).Draw(t, "fields") {
				f := exchange.Field{Value: []byte(strings.Repeat(rapid.StringMatching(`[a-z ]{0,8}`).Draw(t, "value"), rapid.SampledFrom([]int{0, 1, 20, 1000}).Draw(t, "times")))}
				name := rapid.SampledFrom([]string{"X-Own", "x-other", "ETag", "Set-Cookie", "Content-Type", "Connection", "Keep-Alive", "Upgrade", "Bad Name", "Date"}).Draw(t, "name")
				f.Name, f.ID = []byte(name), exchange.LookupField([]byte(name))
				if rapid.IntRange(0, 9).Draw(t, "broken") == 0 {
					f.Value = append(f.Value, '\n')
				} else if !slices.Contains([]string{"Connection", "Keep-Alive", "Upgrade", "Bad Name", "Date"}, name) {
					want += strings.ToLower(name) + "=" + string(f.Value) + "\n"
				}
				head.Fields = append(head.Fields, f)
			}
			p.c.WriteHead(p.open[id], head)
			if got := decoded(t, dec, p.c.Out(nil)); got != want {
				t.Fatalf("got\n%.500s\nwant\n%.500s", got, want)
			}
		}
	})
}

// decoded reads the frames of one header block.
func decoded(t *rapid.T, dec *hpack.Decoder, sent []byte) string {
	fr := http2.NewFramer(nil, bytes.NewReader(sent))
	fr.SetMaxReadFrameSize(frameSize)
	var block []byte
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			break
		}
		block = append(block, f.(interface{ HeaderBlockFragment() []byte }).HeaderBlockFragment()...)
	}
	fields, err := dec.DecodeFull(block)
	if err != nil {
		t.Fatalf("%v in %x", err, block)
	}
	text := ""
	for _, f := range fields {
		text += f.Name + "=" + f.Value + "\n"
	}
	return text
}
