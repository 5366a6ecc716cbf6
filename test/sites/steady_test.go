package sites

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

// reloads is how often the configuration changes under the load. After each
// window of them nothing is changed for as long.
const (
	reloads = 1000
	window  = 100
)

// TestThousandReloads holds that nobody notices when another site, with
// certificates of its own, comes and goes, by the command, by the file alone or
// by the signal: no request is lost, whether it has a body or not and whether its
// connection is new or kept alive, no connection is closed or told to go, and
// WebSockets and downloads go on, all that over HTTP/1.1 and HTTP/2, with and
// without TLS; and that nobody waits 50 ms longer than without that.
func TestThousandReloads(t *testing.T) {
	n := reloads
	if testing.Short() {
		n = 50
	}
	app := harness.Go()
	first := secured(site(1, "stays", []string{"127.0.0.1:0:first.test", "127.0.0.1:0:stays.localhost"}, "/="+page(t, "first")))
	s := newServer(t, first)
	h := s.start(t, 2)
	ports := []string{portOf(h.URLs[0]), portOf(h.URLs[1])}
	both := func(id int, name string, more ...string) string {
		return secured(site(id, name, append([]string{"127.0.0.1:" + ports[0] + ":" + name + ".test", "127.0.0.1:" + ports[1] + ":" + name + ".localhost"}, more...),
			"/="+app.Folder(t), "/files="+page(t, "a file")))
	}
	c := &changes{t: t, server: s, host: h, addr: "127.0.0.1:" + ports[0]}
	c.stays, c.other = both(1, "stays"), both(2, "other", "127.0.0.1:0:", "127.0.0.1:0:more.localhost")
	c.sites = []string{c.stays}
	c.write(t)
	if out, code := c.reload(t); code != 0 {
		t.Fatalf("perch reload: %d %s", code, out)
	}

	ctx, rest := context.WithCancel(t.Context())
	defer rest()
	l := &load{t: t, addr: c.addr, secure: "127.0.0.1:" + ports[1], trust: h.TLS("stays.localhost"), ctx: ctx, counts: map[string]int{}}
	worker := workerOf(t, l.addr)
	l.begin()

	// What a reload does to everybody, it does again: in each of the windows, so
	// in one half of them. A busy machine may do it to anybody, with reloads or
	// without, but not to the same side each time.
	for round := 1; ; round++ {
		with, without := c.windows(l, n)
		t.Logf("without: %v", without)
		t.Logf("with:    %v", with)
		if with.longest(2) <= without.longest(4)+50*time.Millisecond {
			break
		}
		if round == 3 {
			t.Errorf("the longest waits are %v with reloads, and %v without", with.longest(2), without.longest(4))
			break
		}
	}
	rest()
	l.all.Wait()
	if now := workerOf(t, l.addr); now != worker {
		t.Errorf("worker %d became %d", worker, now)
	}
	if len(l.failed) > 0 {
		t.Errorf("%d clients were failed in %d reloads", len(l.failed), c.n)
	}
	if got := strings.Count(h.Stderr(), "worker started"); got > 1+(c.n+99)/100 {
		t.Errorf("%d workers were started", got)
	}
	t.Logf("%d reloads; %v", c.n, l.counts)
}

// secured makes every second binding of a site one of https.
func secured(site string) string {
	const http, https = `protocol="http" `, `protocol="https" `
	parts := strings.Split(site, http)
	for i := range parts[1:] {
		if i%2 == 0 {
			parts[i] += http
		} else {
			parts[i] += https
		}
	}
	return strings.Join(parts, "")
}

// begin starts the clients.
func (l *load) begin() {
	body := harness.Pattern(20_000)
	sum := sha256.Sum256(body)
	get := func(path, field string) []byte {
		return []byte("GET " + path + " HTTP/1.1\r\nHost: stays.test\r\n" + field + "\r\n")
	}
	const last = "Connection: close\r\n"
	post := append(fmt.Appendf(nil, "POST /upload HTTP/1.1\r\nHost: stays.test\r\nContent-Length: %d\r\n\r\n", len(body)), body...)
	is := func(text string) func([]byte) error {
		return func(got []byte) error {
			if string(got) != text {
				return fmt.Errorf("answered %.80q, want %q", got, text)
			}
			return nil
		}
	}
	whole := func(got []byte) error {
		if !bytes.Contains(got, []byte(hex.EncodeToString(sum[:]))) {
			return fmt.Errorf("the body arrived as %s", got)
		}
		return nil
	}
	const small, file, long = "/slow?ms=0", "/files/", 48 << 20
	for _, secure := range []bool{false, true} {
		over := func(what string) string {
			if secure {
				return what + ", TLS"
			}
			return what
		}
		to := func(request []byte) []byte {
			if secure {
				return bytes.Replace(request, []byte("stays.test"), []byte("stays.localhost"), 1)
			}
			return request
		}
		l.keptAlive(over("GET, kept alive"), secure, to(get(small, "")), is("slow"))
		l.keptAlive(over("file, kept alive"), secure, to(get(file, "")), is("a file"))
		l.keptAlive(over("POST, kept alive"), secure, to(post), whole)
		l.fresh(over("GET, new connection"), secure, to(get(small, last)), is("slow"))
		l.fresh(over("POST, new connection"), secure, to(post), whole)
		l.streams(over("stream"), secure, small, nil, is("slow"))
		l.streams(over("file, stream"), secure, file, nil, is("a file"))
		l.streams(over("POST, stream"), secure, "/upload", body, whole)
		l.freshStream(over("stream, new connection"), secure, small, nil, is("slow"))
		l.freshStream(over("POST, stream, new connection"), secure, "/upload", body, whole)
		l.tunnel(over("WebSocket, stream"), secure)
		l.longStream(over("download, stream"), secure, long)
	}
	l.socket()
	l.download(long)
}

// changes lets another site come and go.
type changes struct {
	*server
	t            *testing.T
	host         *harness.Host
	addr         string
	stays, other string
	n            int // how often
}

// windows changes the configuration n times more. It returns how long requests
// took meanwhile, and how long in the time between.
func (c *changes) windows(l *load, n int) (with, without waits) {
	for done := 0; done < n; {
		l.take()
		begin := time.Now()
		for range min(window, n-done) {
			c.once()
			done++
		}
		with = append(with, l.take())
		calm := time.NewTimer(time.Since(begin))
		<-calm.C
		without = append(without, l.take())
	}
	return with, without
}

// once changes the configuration.
func (c *changes) once() {
	c.sites = []string{c.stays}
	comes := c.n%2 == 0
	if comes {
		c.sites = append(c.sites, c.other)
	}
	c.write(c.t)
	switch c.n % 25 {
	case 9: // and nothing but the file says so
		c.await(comes)
	case 14:
		c.host.Signal(syscall.SIGHUP)
		c.await(comes)
	default:
		if out, code := c.reload(c.t); code != 0 {
			c.t.Fatalf("reload %d: %d %s", c.n, code, out)
		}
	}
	if c.n%100 == 0 { // its process starts, and stops with the next change
		if status, text := get(c.t, c.addr, "other.test", "/"); status != 200 {
			c.t.Errorf("reload %d: the other site answers %d %.80q", c.n, status, text)
		}
	}
	c.n++
}

// await waits until the other site has come, or gone.
func (c *changes) await(comes bool) {
	c.t.Helper()
	harness.Eventually(c.t, func() bool {
		status, _ := get(c.t, c.addr, "other.test", "/files/")
		return (status == 200) == comes
	}, "reload %d is taken over", c.n)
}

// waits is how long requests took, window by window.
type waits [][]time.Duration

// longest is the longest wait of a window. That of one window of so many may be
// longer: the machine does that.
func (w waits) longest(of int) time.Duration {
	var all []time.Duration
	for _, window := range w {
		all = append(all, slices.Max(window))
	}
	slices.Sort(all)
	return all[(len(all)-1)*(of-1)/of]
}

func (w waits) String() string {
	all := slices.Concat(w...)
	slices.Sort(all)
	at := func(share float64) time.Duration { return all[min(len(all)-1, int(share*float64(len(all))))] }
	return fmt.Sprintf("%d requests, median %v, 99%% %v, 99.9%% %v, longest %v, of a window %v or %v",
		len(all), at(0.5), at(0.99), at(0.999), all[len(all)-1], w.longest(2), w.longest(4))
}

// workerOf is the process number of the application that stays.
func workerOf(t *testing.T, addr string) int {
	t.Helper()
	status, body := get(t, addr, "stays.test", "/")
	var seen harness.Seen
	if err := json.Unmarshal([]byte(body), &seen); err != nil || status != 200 {
		t.Fatalf("%d %.200s: %v", status, body, err)
	}
	return seen.Pid
}
