package serve

import (
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http2/outlet"
	"github.com/perchserver/perch/internal/sockio"
)

// The limits of an HTTP/2 connection, in fake time: those of HTTP/1.1.

func TestH2IdleConnectionIsSentAway(t *testing.T) {
	timed(t, pages, func(v *host) {
		c, begin := v.dial2(), time.Now()
		if got := c.rest(); got != "NO_ERROR" || c.debug != errIdle.Text {
			t.Errorf("without a request: %s %q", got, c.debug)
		}
		fired(t, "closed", begin, 120*time.Second)

		c = v.dial2()
		for range 3 { // the time begins anew with every request
			if got := c.answer(c.get("/a")); got != h2ok("GET /a") {
				t.Errorf("got %q", got)
			}
			time.Sleep(119 * time.Second)
		}
		begin = time.Now()
		if got := c.rest(); got != "NO_ERROR" {
			t.Errorf("idle: %s", got)
		}
		fired(t, "closed", begin, time.Second)
	})
}

// What has begun and does not go on is cut off after the header time: the
// preface, the first frame, a frame, a header block.
func TestH2SlowBeginnings(t *testing.T) {
	timed(t, pages, func(v *host) {
		for _, in := range []string{
			http2.ClientPreface[:20],
			http2.ClientPreface,
			http2.ClientPreface + "\x00\x00",
			http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\x00\x00\x08\x06",
			http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\x00\x00\x00\x01\x00\x00\x00\x00\x01", // HEADERS, unended
		} {
			nc, begin := v.dial(), time.Now()
			go io.WriteString(nc, in)
			got, _ := io.ReadAll(nc)
			if !strings.Contains(string(got), errHeadSlow.Text) {
				t.Errorf("after %q: %q", in[min(len(in), 24):], got)
			}
			fired(t, "closed", begin, 15*time.Second)
			nc.Close()
		}
	})
}

func TestH2SlowBody(t *testing.T) {
	timed(t, pages, func(v *host) {
		for _, test := range []struct {
			name  string
			bytes int // sent each second
			want  time.Duration
		}{{"silent", 0, 5 * time.Second}, {"too slow", 100, 8 * time.Second}, {"fast enough", 250, 0}} {
			c, begin := v.dial2(), time.Now()
			id := c.open(false, head("POST", "/echo")...)
			var done atomic.Bool
			own := http2.NewFramer(c.nc, nil)
			go func() {
				for n := 0; n < 30 && !done.Load(); n++ {
					time.Sleep(time.Second)
					own.WriteData(id, n == 29, make([]byte, test.bytes))
				}
			}()
			got := c.answer(id)
			done.Store(true)
			if test.want == 0 {
				if !strings.HasPrefix(got, ":status: 200") {
					t.Errorf("%s: %.100q", test.name, got)
				}
				continue
			}
			if !strings.HasPrefix(got, ":status: 408") {
				t.Errorf("%s: %.200q", test.name, got)
			}
			if took := time.Since(begin); took < test.want || took > test.want+2*time.Second {
				t.Errorf("%s: after %v, want about %v", test.name, took, test.want)
			}
			time.Sleep(2 * time.Second)
			if got := c.answer(c.get("/next")); got != h2ok("GET /next") {
				t.Errorf("%s: then %q", test.name, got)
			}
		}
	})
}

// A client that does not open the window loses its stream, and nobody else
// does.
func TestH2ClosedWindow(t *testing.T) {
	t.Run("easy", func(t *testing.T) { testH2ClosedWindow(t, false) })
	t.Run("hard", func(t *testing.T) { testH2ClosedWindow(t, true) })
}

func testH2ClosedWindow(t *testing.T, scarce bool) {
	failed := make(chan error, 1)
	timed(t, exchange.HandlerFunc(func(x *exchange.Exchange) error {
		if string(x.Request.Target.Path) != "/large" {
			return answer(x, 200, "small")
		}
		x.Response.Status, x.Response.Length = 200, -1
		if err := x.Response.Writer.WriteHead(x); err != nil {
			return err
		}
		_, err := x.Response.Writer.Write(make([]byte, 100_000))
		failed <- err
		return err
	}), func(v *host) {
		v.watch.JudgeMemory(func() bool { return scarce })
		c, begin := v.dial2(), time.Now()
		large := c.get("/large")
		c.until("the window is used up", func() bool { return len(c.data[large]) == 65535 })
		time.Sleep(sockio.HardTimes / 2)
		if got := c.answer(c.get("/small")); got != h2ok("small") {
			t.Errorf("beside it: %q", got)
		}
		if got := c.answer(large); !strings.HasSuffix(got, "[CANCEL]") {
			t.Errorf("ended with %q", got[len(got)-40:])
		}
		// 65535 bytes were taken, and have earned what can be earned at most.
		least := 68 * time.Second
		if scarce {
			least = sockio.HardTimes
		}
		if took := time.Since(begin); took < least || took > least+3*time.Second {
			t.Errorf("after %v", took)
		}
		if err := <-failed; err == nil {
			t.Error("the handler was not told")
		}
	})
}

// A planned stop fails no request: the client is told to open no more, what
// it has opened meanwhile is served, and the connection ends with the last
// stream.
func TestH2Drain(t *testing.T) {
	var release chan struct{} // made in the bubble of fake time
	timed(t, exchange.HandlerFunc(func(x *exchange.Exchange) error {
		if string(x.Request.Target.Path) == "/slow" {
			<-release
		}
		return answer(x, 200, "") // no body: the client has nothing to say afterwards
	}), func(v *host) {
		release = make(chan struct{})
		c := v.dial2()
		slow := c.get("/slow")
		c.answer(c.get("/a"))
		done := make(chan error, 1)
		go func() { done <- v.Shutdown(context.Background()) }()
		c.until("GOAWAY", func() bool { return c.away != nil })
		if c.away.LastStreamID != 1<<31-1 || c.away.ErrCode != http2.ErrCodeNo {
			t.Errorf("first %v", c.away)
		}
		late := c.get("/late") // sent before the first GOAWAY was seen
		c.until("the last call", func() bool { return c.away.LastStreamID != 1<<31-1 })
		if c.away.LastStreamID != late {
			t.Errorf("last call for stream %d, want %d", c.away.LastStreamID, late)
		}
		if got := c.answer(late); got != h2ok("") {
			t.Errorf("late: %q", got)
		}
		refused := c.get("/refused") // behind the last call
		time.Sleep(10 * time.Second)
		close(release)
		if got := c.answer(slow); got != h2ok("") {
			t.Errorf("slow: %q", got)
		}
		begin := time.Now()
		if code := c.rest(); code != "NO_ERROR" || c.heads[refused] != "" || time.Since(begin) > sockio.Tick {
			t.Errorf("ended with %s after %v, and the late stream got %q", code, time.Since(begin), c.heads[refused])
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// An idle connection, and one that does not answer, end all the same.
func TestH2DrainOfIdle(t *testing.T) {
	timed(t, pages, func(v *host) {
		c := v.dial2()
		c.answer(c.get("/a"))
		silent := v.dial2()
		silent.answer(silent.get("/a"))
		go func() { // reads, and does not answer
			io.Copy(io.Discard, silent.nc)
			silent.nc.Close()
		}()
		begin := time.Now()
		done := make(chan error, 1)
		go func() { done <- v.Shutdown(context.Background()) }()
		if code := c.rest(); code != "NO_ERROR" || time.Since(begin) > time.Second {
			t.Errorf("%s after %v", code, time.Since(begin))
		}
		c.nc.Close()
		if err := <-done; err != nil || time.Since(begin) > 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// What is in hand when the time of a stop is over is cut.
func TestH2Cut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := inMemory(t, Settings{}, exchange.HandlerFunc(func(x *exchange.Exchange) error {
			w := &work{done: make(chan struct{})}
			x.WhenGone(w)
			<-w.done
			x.WhenGone(nil)
			return exchange.Errorf(502, 3, "wait", "the client has gone")
		}))
		c := v.dial2()
		c.get("/")
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		go c.rest()
		if err := v.Shutdown(ctx); err != context.DeadlineExceeded {
			t.Errorf("%v", err)
		}
	})
}

// Where nothing is in hand, nothing was cut, however short the time is.
func TestH2NothingToCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := inMemory(t, Settings{}, pages)
		c := v.dial2()
		if got := c.answer(c.get("/a")); got != h2ok("GET /a") {
			t.Errorf("got %q", got)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		go c.rest()
		if err := v.Shutdown(ctx); err != nil {
			t.Errorf("%v", err)
		}
	})
}

// A client that asks and asks and does not read is not read from either, and
// cut when it takes nothing for too long.
func TestH2ClientThatDoesNotRead(t *testing.T) {
	timed(t, pages, func(v *host) {
		nc, begin := v.dial(), time.Now()
		io.WriteString(nc, http2.ClientPreface)
		fr := http2.NewFramer(nc, nil)
		fr.WriteSettings()
		var err error
		for n := uint32(0); err == nil && n < 100_000; n++ {
			err = fr.WritePing(false, [8]byte{})
			if n%10 == 9 {
				time.Sleep(time.Second) // as often as is taken for lawful
			}
		}
		if err == nil || time.Since(begin) > 150*time.Second {
			t.Errorf("cut after %v, %v", time.Since(begin), err)
		}
	})
}

// What is gathered for a client that does not read is bounded, whether it is
// bodies or the heads of many small answers.
func TestH2MemoryForAClientThatDoesNotRead(t *testing.T) {
	for _, path := range []string{"/body", "/heads"} {
		t.Run(path, func(t *testing.T) {
			var written, served atomic.Int64
			timed(t, exchange.HandlerFunc(func(x *exchange.Exchange) error {
				served.Add(1)
				if path == "/heads" {
					x.Response.Header.AddName([]byte("x"), []byte(strings.Repeat("~", 2000)))
					return answer(x, 200, "")
				}
				x.Response.Status, x.Response.Length = 200, -1
				x.Response.Writer.WriteHead(x)
				for {
					n, err := x.Response.Writer.Write(make([]byte, 16<<10))
					if err != nil {
						return err
					}
					written.Add(int64(n))
				}
			}), func(v *host) {
				c := v.dial2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
				c.fr.WriteWindowUpdate(0, 1<<30)
				go func() {
					for id := uint32(1); path == "/heads" || id < 20; id += 2 {
						h := http2.HeadersFrameParam{StreamID: id, BlockFragment: c.encode(head("GET", path)...), EndStream: true, EndHeaders: true}
						if c.fr.WriteHeaders(h) != nil {
							return
						}
						if id%100 == 99 { // those before are answered
							time.Sleep(time.Millisecond)
						}
					}
				}()
				time.Sleep(2 * time.Second) // in fake time: all that can be done is done
				if n := written.Load(); n > 4*outlet.MaxPending {
					t.Errorf("%d bytes were taken", n)
				}
				if n := served.Load(); n > 2*outlet.MaxControl/2000+100 {
					t.Errorf("%d requests were answered", n)
				}
				c.nc.Close()
			})
		})
	}
}
