// Command grpc is a fixture: a gRPC server that speaks HTTP/2 without TLS and
// nothing else. Its only service, perch.test.Echo, has a method of each kind.
// Messages are bytes; what a method is to do besides stands in the metadata:
//
//	x-header, x-trailer, and both with -bin   is sent back as that
//	x-fail: CODE                              ends with that status and a detail
//	x-messages: N, x-size: N                  so many messages of that size
//	x-compress: gzip                          answers compressed
//
// It refuses calls without the pairing token of its host.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "fixture:", err)
		os.Exit(1)
	}
}

func run() error {
	ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", os.Getenv("ASPNETCORE_PORT")))
	if err != nil {
		return err
	}
	const most = 64 << 20
	s := grpc.NewServer(grpc.MaxRecvMsgSize(most), grpc.MaxSendMsgSize(most),
		grpc.UnaryInterceptor(func(ctx context.Context, in any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if err := paired(ctx); err != nil {
				return nil, err
			}
			return next(ctx, in)
		}),
		grpc.StreamInterceptor(func(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			if err := paired(s.Context()); err != nil {
				return err
			}
			return next(srv, s)
		}))
	s.RegisterService(new(echo).service(), nil)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-stop
		s.GracefulStop()
	}()
	return s.Serve(ln)
}

// paired checks who is calling.
func paired(ctx context.Context) error {
	if asked(ctx, "ms-aspnetcore-token") != os.Getenv("ASPNETCORE_TOKEN") {
		return status.Error(codes.Unauthenticated, "the pairing token is wrong")
	}
	return nil
}

type message = wrapperspb.BytesValue

// echo is the service. It counts the messages of client streams, and how the
// calls that wait came to their end.
type echo struct{ received, cancelled, late atomic.Int64 }

func (e *echo) service() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "perch.test.Echo",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{method("Unary", unary), method("Wait", e.wait), method("Seen", e.seen)},
		Streams: []grpc.StreamDesc{
			{StreamName: "Down", Handler: e.down, ServerStreams: true},
			{StreamName: "Up", Handler: e.up, ClientStreams: true},
			{StreamName: "Both", Handler: both, ServerStreams: true, ClientStreams: true},
		},
	}
}

func method(name string, f func(context.Context, *message) (*message, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, decode func(any) error, around grpc.UnaryServerInterceptor) (any, error) {
		in := new(message)
		if err := decode(in); err != nil {
			return nil, err
		}
		return around(ctx, in, &grpc.UnaryServerInfo{}, func(ctx context.Context, in any) (any, error) { return f(ctx, in.(*message)) })
	}}
}

// asked returns the value of a metadata key.
func asked(ctx context.Context, key string) string {
	if v := metadata.ValueFromIncomingContext(ctx, key); len(v) > 0 {
		return v[0]
	}
	return ""
}

func number(ctx context.Context, key string) int {
	n, _ := strconv.Atoi(asked(ctx, key))
	return n
}

// reply does what all methods do: metadata, compression, and the status.
func reply(ctx context.Context) error {
	header, trailer := metadata.MD{}, metadata.MD{}
	for _, suffix := range []string{"", "-bin"} {
		header.Set("x-header"+suffix, metadata.ValueFromIncomingContext(ctx, "x-header"+suffix)...)
		trailer.Set("x-trailer"+suffix, metadata.ValueFromIncomingContext(ctx, "x-trailer"+suffix)...)
	}
	if c := asked(ctx, "x-compress"); c != "" {
		grpc.SetSendCompressor(ctx, c)
	}
	grpc.SetHeader(ctx, header)
	grpc.SetTrailer(ctx, trailer)
	if asked(ctx, "x-fail") == "" {
		return nil
	}
	s, err := status.New(codes.Code(number(ctx, "x-fail")), "failed as told: 100 % of it, ünd mehr").
		WithDetails(wrapperspb.String("the detail"))
	if err != nil {
		return err
	}
	return s.Err()
}

func unary(ctx context.Context, in *message) (*message, error) {
	if err := reply(ctx); err != nil {
		return nil, err
	}
	return in, nil
}

// waited is what a call comes to that waits for its end.
func (e *echo) waited(ctx context.Context) error {
	<-ctx.Done()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		e.late.Add(1)
	} else {
		e.cancelled.Add(1)
	}
	return status.FromContextError(ctx.Err()).Err()
}

func (e *echo) wait(ctx context.Context, _ *message) (*message, error) { return nil, e.waited(ctx) }

func (e *echo) seen(context.Context, *message) (*message, error) {
	return wrapperspb.Bytes(fmt.Appendf(nil, "received %d, cancelled %d, late %d, pid %d",
		e.received.Load(), e.cancelled.Load(), e.late.Load(), os.Getpid())), nil
}

func (e *echo) down(_ any, s grpc.ServerStream) error {
	in := new(message)
	if err := s.RecvMsg(in); err != nil {
		return err
	}
	ctx := s.Context()
	end := reply(ctx)
	for range number(ctx, "x-messages") {
		if err := s.SendMsg(wrapperspb.Bytes(make([]byte, number(ctx, "x-size")))); err != nil {
			return err
		}
	}
	if asked(ctx, "x-wait") != "" {
		return e.waited(ctx)
	}
	return end
}

func (e *echo) up(_ any, s grpc.ServerStream) error {
	if err := reply(s.Context()); err != nil {
		return err
	}
	messages, bytes := 0, 0
	for {
		in := new(message)
		err := s.RecvMsg(in)
		if err == io.EOF {
			return s.SendMsg(wrapperspb.Bytes(fmt.Appendf(nil, "%d messages, %d bytes", messages, bytes)))
		}
		if err != nil {
			return err
		}
		e.received.Add(1)
		messages, bytes = messages+1, bytes+len(in.Value)
	}
}

// both speaks first, then echoes.
func both(_ any, s grpc.ServerStream) error {
	if err := reply(s.Context()); err != nil {
		return err
	}
	if err := s.SendMsg(wrapperspb.Bytes([]byte("hello"))); err != nil {
		return err
	}
	for {
		in := new(message)
		err := s.RecvMsg(in)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.SendMsg(in); err != nil {
			return err
		}
	}
}
