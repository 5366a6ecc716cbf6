// Package http2 is HTTP/2 on the wire (RFC 9113), for both roles: the state of
// one connection and its streams, frames and header blocks to exchange types
// and back, flow control in both directions, settings, and the patience with a
// peer that asks for work without using it. It is about bytes in memory: it
// knows no socket, no goroutine and no time but what it is told.
//
// Framing and HPACK are those of golang.org/x/net, which no other package
// imports. The rules of targets, hosts and field values are those of
// internal/http1, so that a request means the same over both versions.
//
// The drivers import it: internal/serve for clients, and
// internal/handler/forward for applications that speak HTTP/2.
package http2

import (
	"fmt"

	"github.com/perchserver/perch/internal/http1"
)

// Preface is what a client sends first (RFC 9113 section 3.4). Its beginning,
// up to PrefaceHead, looks like the head of an HTTP/1.1 request.
const (
	Preface     = PrefaceHead + "SM\r\n\r\n"
	PrefaceHead = "PRI * HTTP/2.0\r\n\r\n"
)

// Code is an error code (RFC 9113 section 7).
type Code uint32

// The codes.
const (
	NoError Code = iota
	ProtocolError
	InternalError
	FlowControlError
	SettingsTimeout
	StreamClosed
	FrameSizeError
	RefusedStream
	Cancel
	CompressionError
	ConnectError
	EnhanceYourCalm
	InadequateSecurity
	HTTP11Required
)

// Error is why a connection cannot go on. It is sent as GOAWAY.
type Error struct {
	Code Code
	Text string // what the peer did, for its log and ours
}

// Error returns text and code.
func (e *Error) Error() string { return fmt.Sprintf("%s (HTTP/2 error code %d)", e.Text, e.Code) }

func fail(code Code, format string, a ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, a...)}
}

// Limits bound what a peer may ask for. All must be set, but those of a server
// alone for a client.
type Limits struct {
	Head    http1.Limits // as of an HTTP/1.1 message that says the same
	Streams int          // at once; of a server
	Scheme  string       // of the connection, which requests must name; of a server

	// Bytes of bodies that may be on their way or in memory, for one stream
	// and for all together.
	StreamWindow, ConnWindow int32

	// Patience with frames that ask for work and bring nothing, in the points
	// of calm.go: at once, and for each second.
	Calm, CalmSecond int
}

// listSize is what clients are told of the size of a head. They count 32 bytes
// for each field, pseudo-header fields and the parts of a cookie included, and
// send nothing that is larger: so it leaves room enough for all that is within
// the limits, and for what is somewhat beyond them and gets an answer.
func (l *Limits) listSize() uint32 {
	const pseudoFields = 5
	return uint32(2*(l.Head.Line+l.Head.Fields) + 32*(l.Head.Count+pseudoFields))
}

const (
	initialWindow = 65535     // of every connection and stream (section 6.9.2)
	maxWindow     = 1<<31 - 1 // section 6.9.1
	frameSize     = 16 << 10  // payload of the frames in both directions
	tableSize     = 4096      // of HPACK, in both directions
)
