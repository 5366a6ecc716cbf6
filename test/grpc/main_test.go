// Package grpc asks whether gRPC works through the binary, with grpc-go at both
// ends: all kinds of calls, what goes with them, and what becomes of them when
// somebody leaves. It is a suite against the built binary; nothing imports it.
package grpc

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/perchserver/perch/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// message is what all methods of the application take and answer.
type message = wrapperspb.BytesValue

// client is a gRPC client of a host.
type client struct {
	t    *testing.T
	conn *grpc.ClientConn
}

// start runs the application on a clear port and one for TLS.
func start(t *testing.T) *harness.Host {
	t.Helper()
	return harness.GRPC().Start(t, func(r *harness.Run) { r.Listen = []string{"http://127.0.0.1:0", "https://127.0.0.1:0"} })
}

// dial connects to one of the URLs of a host.
func dial(t *testing.T, h *harness.Host, url string, options ...grpc.DialOption) *client {
	t.Helper()
	scheme, address, _ := strings.Cut(strings.TrimSuffix(url, "/"), "://")
	trust := insecure.NewCredentials()
	if scheme == "https" {
		trust = credentials.NewClientTLSFromCert(h.Pool(), "")
	}
	const most = 64 << 20
	conn, err := grpc.NewClient(address, append(options, grpc.WithTransportCredentials(trust),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(most), grpc.MaxCallSendMsgSize(most)))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t, conn}
}

// ways runs a test over clear text and over TLS, on one host.
func ways(t *testing.T, run func(t *testing.T, c *client)) {
	t.Parallel()
	h := start(t)
	for i, name := range []string{"clear", "TLS"} {
		t.Run(name, func(t *testing.T) { run(t, dial(t, h, h.URLs[i])) })
	}
}

// with is a context of a test that ends in time, with metadata.
func with(t testing.TB, pairs ...string) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), harness.Limit)
	t.Cleanup(cancel)
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

// call makes a unary call.
func (c *client) call(ctx context.Context, method, in string, options ...grpc.CallOption) (string, error) {
	out := new(message)
	err := c.conn.Invoke(ctx, "/perch.test.Echo/"+method, wrapperspb.Bytes([]byte(in)), out, options...)
	return string(out.Value), err
}

// must is call where nothing may fail.
func (c *client) must(method, in string) string {
	c.t.Helper()
	out, err := c.call(with(c.t), method, in)
	if err != nil {
		c.t.Fatalf("%s: %v", method, err)
	}
	return out
}

// seen is what a process of the application has seen.
type seen struct{ received, cancelled, late, pid int }

func (c *client) seen() (s seen) {
	c.t.Helper()
	if _, err := fmt.Sscanf(c.must("Seen", ""), "received %d, cancelled %d, late %d, pid %d", &s.received, &s.cancelled, &s.late, &s.pid); err != nil {
		c.t.Fatal(err)
	}
	return s
}

// stream opens a stream of any kind.
func (c *client) stream(ctx context.Context, method string, options ...grpc.CallOption) *stream {
	c.t.Helper()
	s, err := c.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/perch.test.Echo/"+method, options...)
	if err != nil {
		c.t.Fatalf("%s: %v", method, err)
	}
	return &stream{s, c.t}
}

type stream struct {
	grpc.ClientStream
	t *testing.T
}

func (s *stream) send(text string) {
	s.t.Helper()
	if err := s.SendMsg(wrapperspb.Bytes([]byte(text))); err != nil {
		s.t.Fatalf("send: %v", err)
	}
}

func (s *stream) end() {
	s.t.Helper()
	if err := s.CloseSend(); err != nil {
		s.t.Fatalf("end: %v", err)
	}
}

func (s *stream) receive() (string, error) {
	in := new(message)
	err := s.RecvMsg(in)
	return string(in.Value), err
}

// expect receives one message, or the end if want is empty.
func (s *stream) expect(want string) {
	s.t.Helper()
	got, err := s.receive()
	if want == "" && err != nil && err.Error() == "EOF" {
		return
	}
	if err != nil || got != want {
		s.t.Fatalf("received %.80q, %v; want %.80q", got, err, want)
	}
}
