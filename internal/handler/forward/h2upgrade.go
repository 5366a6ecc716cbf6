package forward

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"time"

	"github.com/perchserver/perch/internal/exchange"
)

// A WebSocket to an application that speaks HTTP/2 is a stream that an extended
// CONNECT opens (RFC 8441), if the application has said that it takes one. To
// the client's driver it looks as the upgrade of HTTP/1.1 does.

var (
	errNoWebSockets = &exchange.Error{Status: 501, Op: "forward", Public: "WebSockets are not served here",
		Err: errors.New("the application speaks HTTP/2 and does not take an extended CONNECT (RFC 8441)")}
	errNoKey = &exchange.Error{Status: 400, Op: "forward", Public: "The WebSocket handshake has no Sec-WebSocket-Key"}
)

// webSocketProtocol is what the protocol is called. Never written.
var webSocketProtocol = []byte("websocket")

// wantsWebSocket reports whether the request is for a WebSocket, and takes from
// its fields what HTTP/2 has no need of. Any other change of the protocol is
// left: a server may do that (RFC 9110 section 7.8).
func (k *call) wantsWebSocket() (bool, error) {
	if !exchange.EqualFold(k.fields.upgrade, "websocket") {
		return false, nil
	}
	if k.x.Request.Header.Get(exchange.SecWebSocketKey) == nil {
		return false, errNoKey
	}
	k.fields.list.Del(exchange.SecWebSocketKey)
	return true, nil
}

// switchProtocols answers with the 101 that the application's 200 stands for.
func (k *call) switchProtocols() error {
	h := &k.x.Response.Header
	k.x.Response.Status = 101
	passFields(&k.head, h)
	h.Add(exchange.Upgrade, webSocketProtocol)
	h.AddName([]byte("Sec-WebSocket-Accept"), accepts(k.x.Request.Header.Get(exchange.SecWebSocketKey)))
	if phase, side, err := becomeTunnel(k.x, &k.c.set, &farStream{call: k}, make([]byte, tunnelBuffer), nil); err != nil {
		return k.fail(phase, side, err)
	}
	return nil
}

// accepts is the answer to a key (RFC 6455 section 4.2.2).
func accepts(key []byte) []byte {
	sum := sha1.Sum(append(key[:len(key):len(key)], "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	return base64.StdEncoding.AppendEncode(nil, sum[:])
}

// farStream is a stream as the application's end of a tunnel.
type farStream struct {
	*call
	chunk []byte // being read
	rest  []byte // of it
	err   error  // behind it
}

func (s *farStream) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.chunk, s.err = s.call.chunk(s.chunk, true)
		s.rest = s.chunk
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *farStream) Write(p []byte) (int, error) {
	if err := s.send(p, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *farStream) CloseWrite() error { return s.sendTrailer(nil) }

func (s *farStream) LimitRead(d time.Duration)  { s.limit(func() { s.readLimit = d }) }
func (s *farStream) LimitWrite(d time.Duration) { s.limit(func() { s.writeLimit = d }) }

func (s *farStream) limit(set func()) {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	s.since = s.link.f.watch.Clock()
	set()
}

var _ far = (*farStream)(nil)
