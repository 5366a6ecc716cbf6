package grpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/perchserver/perch/test/harness"
)

func TestUnary(t *testing.T) {
	ways(t, func(t *testing.T, c *client) {
		for i := range 50 {
			want := fmt.Sprint("message ", i)
			if got := c.must("Unary", want); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
		if got := c.must("Unary", ""); got != "" {
			t.Errorf("got %q, want an empty message", got)
		}
	})
}

func TestServerStream(t *testing.T) {
	ways(t, func(t *testing.T, c *client) {
		s := c.stream(with(t, "x-messages", "1000", "x-size", "1000"), "Down")
		s.send("go")
		s.end()
		for range 1000 {
			s.expect(strings.Repeat("\x00", 1000))
		}
		s.expect("")
	})
}

func TestClientStream(t *testing.T) {
	ways(t, func(t *testing.T, c *client) {
		s := c.stream(with(t), "Up")
		for range 1000 {
			s.send(strings.Repeat("x", 1000))
		}
		s.end()
		s.expect("1000 messages, 1000000 bytes")
		s.expect("")
	})
}

// Each side waits for the other: nothing may be held back for more.
func TestBothWays(t *testing.T) {
	ways(t, func(t *testing.T, c *client) {
		s := c.stream(with(t), "Both")
		s.expect("hello") // before anything was sent
		for i := range 200 {
			want := fmt.Sprint("ping ", i)
			s.send(want)
			s.expect(want)
		}
		s.end()
		s.expect("")
	})
}

// A client may pause for longer than an upload may, and its pings keep the
// connection. It is time itself that this is about: grpc-go pings no sooner than
// after ten seconds.
func TestPause(t *testing.T) {
	t.Parallel()
	h := start(t)
	c := dial(t, h, h.URLs[1], grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}))
	s, other := c.stream(with(t), "Both"), c.stream(with(t), "Up")
	s.expect("hello")
	other.send("first")
	time.Sleep(11 * time.Second)
	s.send("still there")
	s.expect("still there")
	other.end()
	other.expect("1 messages, 5 bytes")
}

func TestLargeMessages(t *testing.T) {
	ways(t, func(t *testing.T, c *client) {
		want := string(harness.Pattern(16 << 20))
		if got := c.must("Unary", want); got != want {
			t.Errorf("%d bytes came back, want %d", len(got), len(want))
		}
	})
}

func TestMetadata(t *testing.T) {
	ways(t, func(t *testing.T, c *client) {
		raw := string([]byte{0, 1, 2, 255, 254, '\r', '\n'})
		ctx := with(t, "x-header", "one", "x-header", "two, three", "x-header-bin", raw, "x-trailer", "behind", "x-trailer-bin", raw+raw)
		check := func(kind, key string, got metadata.MD, want ...string) {
			t.Helper()
			if fmt.Sprintf("%q", got.Get(key)) != fmt.Sprintf("%q", want) {
				t.Errorf("%s: %s is %q, want %q", kind, key, got.Get(key), want)
			}
		}
		var header, trailer metadata.MD
		if _, err := c.call(ctx, "Unary", "x", grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
			t.Fatal(err)
		}
		check("unary", "x-header", header, "one", "two, three")
		check("unary", "x-header-bin", header, raw)
		check("unary", "x-trailer", trailer, "behind")
		check("unary", "x-trailer-bin", trailer, raw+raw)
		s := c.stream(ctx, "Both")
		header, err := s.Header()
		if err != nil {
			t.Fatal(err)
		}
		check("stream", "x-header", header, "one", "two, three")
		s.expect("hello")
		s.end()
		s.expect("")
		check("stream", "x-trailer-bin", s.Trailer(), raw+raw)
	})
}

// A status with details stands in trailers, or in a head that is all there is.
func TestStatus(t *testing.T) {
	ways(t, func(t *testing.T, c *client) {
		check := func(kind string, err error) {
			t.Helper()
			s := status.Convert(err)
			if s.Code() != codes.FailedPrecondition || s.Message() != "failed as told: 100 % of it, ünd mehr" || len(s.Details()) != 1 {
				t.Errorf("%s: %v %q with %d details", kind, s.Code(), s.Message(), len(s.Details()))
				return
			}
			if d, ok := s.Details()[0].(*wrapperspb.StringValue); !ok || d.Value != "the detail" {
				t.Errorf("%s: detail %v", kind, s.Details()[0])
			}
		}
		code := strconv.Itoa(int(codes.FailedPrecondition))
		_, err := c.call(with(t, "x-fail", code), "Unary", "x")
		check("unary", err)
		s := c.stream(with(t, "x-fail", code, "x-messages", "3", "x-size", "10"), "Down")
		s.send("go")
		s.end()
		for range 3 {
			s.expect(strings.Repeat("\x00", 10))
		}
		_, err = s.receive()
		check("behind messages", err)

		// The application ends before the client does.
		s = c.stream(with(t, "x-fail", code), "Up")
		_, err = s.receive()
		check("early", err)
		if _, err := c.call(with(t), "Missing", "x"); status.Code(err) != codes.Unimplemented {
			t.Errorf("a method that there is not: %v", err)
		}
	})
}

func TestCompression(t *testing.T) {
	ways(t, func(t *testing.T, c *client) {
		want := strings.Repeat("compressible ", 100_000)
		got, err := c.call(with(t, "x-compress", "gzip"), "Unary", want, grpc.UseCompressor(gzip.Name))
		if err != nil || got != want {
			t.Errorf("%d bytes came back, %v, want %d", len(got), err, len(want))
		}
	})
}

// What ends a call at the client reaches the application at once.
func TestDeadlineAndCancel(t *testing.T) {
	ways(t, func(t *testing.T, c *client) {
		before := c.seen()
		ctx, cancel := context.WithTimeout(with(t), 3*time.Second) // by then the application has the call
		defer cancel()
		if _, err := c.call(ctx, "Wait", ""); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("deadline: %v", err)
		}
		harness.Eventually(t, func() bool {
			now := c.seen()
			return now.cancelled+now.late == before.cancelled+before.late+1
		}, "the application learns of the deadline")

		// Half way through: the application has sent something and waits.
		ctx, cancel = context.WithCancel(with(t, "x-messages", "1", "x-size", "1", "x-wait", "1"))
		s := c.stream(ctx, "Down")
		s.send("go")
		s.end()
		s.expect("\x00")
		before = c.seen()
		cancel()
		if _, err := s.receive(); status.Code(err) != codes.Canceled {
			t.Errorf("cancelled: %v", err)
		}
		harness.Eventually(t, func() bool { return c.seen().cancelled == before.cancelled+1 }, "the application learns that the call was cancelled")
	})
}

// The application's deadline passes first, as it does where the client's clock
// is behind. grpc-go answers with a status or resets the call, whichever it
// comes to first: the client sees the same, not that the application is away.
func TestDeadlineOfTheApplication(t *testing.T) {
	t.Parallel()
	h := start(t)
	c := &http.Transport{Protocols: new(http.Protocols)}
	c.Protocols.SetUnencryptedHTTP2(true)
	defer c.CloseIdleConnections()
	for range 20 {
		r, err := http.NewRequestWithContext(with(t), "POST", h.URLs[0]+"/perch.test.Echo/Wait", strings.NewReader("\x00\x00\x00\x00\x00"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "Grpc-Timeout": {"20m"}}
		response, err := c.RoundTrip(r)
		var reset http2.StreamError
		switch {
		case err == nil:
			response.Body.Close()
			if s := response.Header.Get("Grpc-Status"); response.StatusCode != 200 || s != "4" {
				t.Errorf("answered %d with gRPC status %q", response.StatusCode, s)
			}
		case !errors.As(err, &reset) || reset.Code != http2.ErrCodeCancel:
			t.Errorf("got %v, want a reset with CANCEL", err)
		}
	}
}

// Many streams at once, each of them answered before any has ended.
func TestHundredStreams(t *testing.T) {
	ways(t, func(t *testing.T, c *client) {
		var all []*stream
		for range 100 {
			all = append(all, c.stream(with(t), "Both"))
		}
		for i, s := range all {
			s.expect("hello")
			s.send(fmt.Sprint("number ", i))
		}
		for i, s := range all {
			s.expect(fmt.Sprint("number ", i))
		}
		var wait sync.WaitGroup
		for _, s := range all {
			wait.Go(func() {
				for range 20 {
					s.SendMsg(wrapperspb.Bytes(make([]byte, 5000)))
					if got, err := s.receive(); len(got) != 5000 || err != nil {
						t.Errorf("%d bytes, %v", len(got), err)
					}
				}
				s.CloseSend()
				if _, err := s.receive(); err != io.EOF {
					t.Errorf("at the end: %v", err)
				}
			})
		}
		wait.Wait()
	})
}

// A client that does not read holds up the application, not Perch's memory,
// and nobody else.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	h := start(t)
	slow, quick := dial(t, h, h.URLs[0]), dial(t, h, h.URLs[0])
	quick.must("Unary", "x")
	before := harness.Memory(h.Pid)
	var stuck []*stream
	for range 20 {
		s := slow.stream(with(t, "x-messages", "1000", "x-size", "100000"), "Down") // 100 MB each
		s.send("go")
		s.end()
		stuck = append(stuck, s)
	}
	for range 200 {
		quick.must("Unary", strings.Repeat("x", 100_000))
	}
	if more := harness.Memory(h.Pid) - before; more > 60<<20 {
		t.Errorf("the host has taken %d MB more", more>>20)
	}
	for _, s := range stuck[:3] {
		for range 1000 {
			if got, err := s.receive(); err != nil || len(got) != 100_000 {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
		}
	}
}
