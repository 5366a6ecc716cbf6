package forward

import (
	"bytes"
	"encoding/base64"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
)

// sendHead writes the request head (step 2), with the body behind it when all
// of it is in memory, and starts the upload of any other (step 3).
func (t *flight) sendHead() error {
	r := &t.x.Request
	held := r.HasBody() && r.Proto >= exchange.HTTP11 && exchange.EqualFold(r.Header.Get(exchange.Expect), "100-continue")
	b := t.appendHead(t.buf[:0])
	if r.HasBody() && !held {
		if body, ok := r.Body.Buffered(); ok {
			b = append(b, body...)
		}
	}
	n, err := t.link.sock.Write(b)
	t.sent = n > 0
	if cap(b) > len(t.buf) {
		t.buf = b[:cap(b)] // it had to grow
	}
	t.r, t.w = 0, 0
	switch {
	case err != nil:
		return t.fail(SendHead, Application, err)
	case held:
		t.upload.hold() // until the application asks for it
	case !r.Body.Sent():
		t.upload.start()
	}
	return nil
}

// appendHead writes the head that the application gets (spec 3.2).
func (t *flight) appendHead(b []byte) []byte {
	r := &t.x.Request
	b = http1.AppendRequestLine(b, r.Method, r.Target.Forward, r.Target.Query, r.Target.HasQuery)
	upgrade := r.Upgrade
	if t.c.set.NoWebSockets && exchange.EqualFold(upgrade, "websocket") {
		upgrade = nil
	}
	named := http1.NamesFields(&r.Header)
	var hosted, trailers bool
	var forwardedFor, forwardedProto []byte
	for i := range r.Header.Fields {
		f := &r.Header.Fields[i]
		if named && http1.NamedByConnection(&r.Header, f) {
			continue
		}
		switch f.ID {
		case exchange.Host: // that of an absolute target goes before the field
			hosted = true
			b = http1.AppendField(b, f.NameBytes(), r.Host)
			continue
		case exchange.Connection, exchange.KeepAlive, exchange.ProxyConnection, exchange.Upgrade,
			exchange.TransferEncoding, exchange.ContentLength:
			continue // hop by hop, and framing: written anew below
		case exchange.Expect:
			if r.Proto < exchange.HTTP11 {
				continue // its client cannot be asked (RFC 9110 section 10.1.1)
			}
		case exchange.TE:
			trailers = trailers || http1.ListHas(f.Value, "trailers")
			continue
		case exchange.XForwardedFor:
			forwardedFor = join(forwardedFor, f.Value)
			continue
		case exchange.XForwardedProto:
			forwardedProto = join(forwardedProto, f.Value)
			continue
		case exchange.SecWebSocketExtensions:
			if upgrade != nil {
				continue // spec 3.6: extensions are never negotiated
			}
		default:
			if ours(f) {
				continue
			}
		}
		b = http1.AppendField(b, f.NameBytes(), f.Value)
	}
	if !hosted {
		b = http1.AppendField(b, []byte("Host"), r.Host) // HTTP/1.0 may come without
	}
	b = t.appendOwn(b, forwardedFor, forwardedProto)
	switch {
	case upgrade != nil:
		b = append(b, "Connection: Upgrade\r\nUpgrade: "...)
		b = append(append(b, upgrade...), "\r\n"...)
	case trailers: // RFC 9110 section 10.1.4: TE is for one hop, and named so
		b = append(b, "Connection: TE\r\nTE: trailers\r\n"...)
	}
	switch {
	case r.Length < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case r.Length > 0 || r.Header.Has(exchange.ContentLength):
		b = http1.AppendLength(b, r.Length)
	}
	return append(b, '\r', '\n')
}

// appendOwn writes the fields that only Perch may set.
func (t *flight) appendOwn(b, forwardedFor, forwardedProto []byte) []byte {
	x := t.x
	b = append(b, "X-Forwarded-For: "...)
	if len(forwardedFor) > 0 {
		b = append(append(b, forwardedFor...), ", "...)
	}
	b = append(b, x.Conn.RemoteText...)
	b = append(b, "\r\nX-Forwarded-Proto: "...)
	if len(forwardedProto) > 0 {
		b = append(append(b, forwardedProto...), ", "...)
	}
	b = append(b, x.Request.Scheme...)
	b = append(b, "\r\n"...)
	if t.c.set.Token != "" {
		b = append(b, "MS-ASPNETCORE-TOKEN: "...)
		b = append(append(b, t.c.set.Token...), "\r\n"...)
	}
	if s := x.Conn.TLS; s != nil && len(s.VerifiedChains) > 0 {
		b = append(b, "MS-ASPNETCORE-CLIENTCERT: "...)
		b = base64.StdEncoding.AppendEncode(b, s.PeerCertificates[0].Raw)
		b = append(b, "\r\n"...)
	}
	return b
}

// join joins the values of a field that came more than once.
func join(a, b []byte) []byte {
	switch {
	case len(a) == 0:
		return b
	case len(b) == 0:
		return a
	}
	return append(append(bytes.Clone(a), ", "...), b...)
}

// ours reports whether a field from outside has a name that only Perch may
// say, or nobody: a client could pass for the host with it. The name is judged
// as it stands, and as it becomes where '_' and '-' are taken for one another,
// as CGI's variables and what comes after them do.
func ours(f *exchange.Field) bool {
	switch f.ID {
	case exchange.Other:
	case exchange.MSToken, exchange.MSClientCert, exchange.MSEvent, exchange.MSWinAuthToken,
		exchange.XForwardedHost, exchange.XForwardedPrefix, exchange.Forwarded:
		return true
	default:
		return false
	}
	const prefix = "MS-ASPNETCORE"
	name := f.Name
	if bytes.IndexByte(name, '_') >= 0 {
		name = bytes.ReplaceAll(name, []byte("_"), []byte("-"))
		switch exchange.LookupField(name) {
		case exchange.XForwardedFor, exchange.XForwardedProto, exchange.XForwardedHost,
			exchange.XForwardedPrefix, exchange.Forwarded, exchange.Host, exchange.ContentLength,
			exchange.TransferEncoding, exchange.Connection, exchange.Upgrade, exchange.TE:
			return true
		}
	}
	return len(name) >= len(prefix) && exchange.EqualFold(name[:len(prefix)], prefix)
}
