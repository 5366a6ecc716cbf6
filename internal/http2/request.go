package http2

import (
	"errors"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
)

// Accept takes the request that Take has told of: it opens s for it, which is
// new or was released, and fills in all of r but Scheme and Body. What it
// stores in r points into the memory that is returned; scratch is kept in
// exchange for it. The error is why the request has to be refused, with a
// response; if the stream is reset afterwards, it was malformed.
func (c *Conn) Accept(s *Stream, owner any, r *exchange.Request, scratch []byte) ([]byte, error) {
	b := &c.block
	*s = Stream{
		id: b.id, owner: owner, held: true, theirs: b.end,
		send: c.first, receive: c.lim.StreamWindow, declared: b.length,
	}
	c.streams[s.id] = s
	c.open++
	c.held++
	fault := b.fault
	var text []byte
	if fault == nil {
		text, fault = b.request(r)
	} else {
		text = b.text
		r.Method, r.Proto = "GET", exchange.HTTP2
	}
	b.text = scratch[:0]
	if fault == http1.BadTarget || fault == http1.BadMethod {
		c.Reset(s, ProtocolError)
	}
	return text, fault
}

var errUnknownProtocol = &exchange.Error{Status: 501, Op: "read request", Public: "This protocol is not served here",
	Err: errors.New("an extended CONNECT for another protocol than websocket")}

// request moves the head into r (RFC 9113 section 8.3.1). An extended CONNECT
// (RFC 8441) becomes the GET with an upgrade that it stands for.
func (b *block) request(r *exchange.Request) (text []byte, err error) {
	r.Proto = exchange.HTTP2
	method, text := b.add(b.text, b.method.text)
	var ok bool
	if r.Method, ok = http1.Method(method); !ok {
		return text, http1.BadMethod
	}
	if b.protocol.is {
		if b.protocol.text != "websocket" {
			return text, errUnknownProtocol
		}
		r.Method, r.Upgrade = "GET", websocket
	}
	switch r.Length = b.length; {
	case b.end, b.protocol.is:
		r.Length = 0
	}
	host := b.host
	if b.authority.is {
		host, text = b.add(text, b.authority.text)
	}
	fields := append(r.Header.Fields[:0], exchange.Field{ID: exchange.Host, Value: host})
	cookie := []byte(nil)
	if b.cookies > 1 {
		cookie, text = b.cookie(text)
	}
	for _, f := range b.fields {
		if cookie != nil && f.ID == exchange.Cookie {
			if len(cookie) == 0 {
				continue
			}
			f.Value, cookie = cookie, cookie[:0]
		}
		fields = append(fields, f)
	}
	r.Header.Fields = fields
	switch r.Host = host; {
	case len(host) == 0:
		return text, http1.NoHost
	case !http1.ValidHost(host):
		return text, http1.BadHost
	}
	var path []byte
	path, text = b.add(text, b.path.text)
	return http1.ParseTarget(path, r, text)
}

// websocket is the value of Upgrade. Never written.
var websocket = []byte("websocket")

// add appends s to text and returns it there.
func (b *block) add(text []byte, s string) (part, all []byte) {
	start := len(text)
	text = append(text, s...)
	return text[start:len(text):len(text)], text
}

// cookie joins what clients take apart for the sake of compression (RFC 9113
// section 8.2.3).
func (b *block) cookie(text []byte) (joined, all []byte) {
	start := len(text)
	for i := range b.fields {
		if b.fields[i].ID == exchange.Cookie {
			if len(text) > start {
				text = append(text, "; "...)
			}
			text = append(text, b.fields[i].Value...)
		}
	}
	return text[start:len(text):len(text)], text
}
