package h2

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/perchserver/perch/test/harness"
)

// limited runs the Go application with limits, on a clear port.
func limited(t *testing.T, limits string) *harness.Host {
	t.Helper()
	return harness.Go().Start(t, harness.WebConfig{Limits: limits}.Use(t))
}

// A request meets the limits of its head at the same byte, and the same field,
// over both versions.
func TestHeadLimits(t *testing.T) {
	t.Parallel()
	h := limited(t, `maxRequestLineSize="80" maxRequestHeadersTotalSize="300" maxRequestHeaderCount="5"`)
	const agent = "User-Agent: Go-http-client/1.1\r\n" // or 2.0
	line := func(n int) string { return "/?" + strings.Repeat("a", n-len("GET /? HTTP/1.1\r\n")) }
	size := func(n int) []string {
		return []string{"X: " + strings.Repeat("x", n-len("Host: "+h.Addr()+"\r\n"+agent+"X: \r\n"))}
	}
	for _, c := range []struct {
		name   string
		target string
		fields []string
		want   int
	}{
		{"line at the limit", line(80), nil, 200},
		{"line too long", line(81), nil, 414},
		{"fields at the limit", "/", size(300), 200},
		{"fields too large", "/", size(301), 431},
		{"as many fields as allowed", "/", []string{"A: b", "B: c", "C: d"}, 200},
		{"too many fields", "/", []string{"A: b", "B: c", "C: d", "D: e"}, 431},
		{"line and fields", line(81), size(301), 414},
	} {
		for version, client := range map[string]*harness.Host{"HTTP/1.1": h, "HTTP/2.0": h.HTTP2()} {
			if r := client.Do("GET", c.target, c.fields, nil); r.StatusCode != c.want || r.Proto != version {
				t.Errorf("%s over %s: answered %d over %s, want %d", c.name, version, r.StatusCode, r.Proto, c.want)
			}
		}
	}
}

// What bounds a connection of HTTP/2 is what the configuration says.
func TestConnectionLimits(t *testing.T) {
	t.Parallel()
	const allowance = 150
	h := limited(t, fmt.Sprintf(`maxStreamsPerConnection="3" initialStreamWindowSize="70000" initialConnectionWindowSize="200000"
		floodAllowance="%d" floodAllowancePerSecond="1"`, allowance))
	h.Get("/")
	get := []string{":method: GET", ":scheme: http", ":authority: a", ":path: /hang"}

	f := dial(t, h)
	for i := range uint32(4) {
		f.open(2*i+1, true, get...)
	}
	announced := map[http2.SettingID]uint32{}
	window, refused := uint32(0), ""
	for refused == "" {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			frame.ForeachSetting(func(s http2.Setting) error { announced[s.ID] = s.Val; return nil })
		case *http2.WindowUpdateFrame:
			window += frame.Increment
		case *http2.RSTStreamFrame:
			refused = fmt.Sprint(frame.StreamID, " ", frame.ErrCode)
		}
	}
	if refused != "7 REFUSED_STREAM" || announced[http2.SettingMaxConcurrentStreams] != 3 ||
		announced[http2.SettingInitialWindowSize] != 70_000 || 65_535+window != 200_000 {
		t.Errorf("refused %s; announced %v, and %d for all streams", refused, announced, 65_535+window)
	}

	f = dial(t, h)
	var err error
	const price, seconds = 2, 20 // that this takes at most, and that give an allowance of their own
	for i := 0; i < (allowance+seconds)/price+1 && err == nil; i++ {
		err = f.WritePing(false, [8]byte{})
	}
	if code := f.away(); code != "ENHANCE_YOUR_CALM" {
		t.Errorf("a flood ended with %s", code)
	}
}
