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
	x := t.x
	b := t.appendHead(t.buf[:0])
	if x.Request.HasBody() && !x.Request.Header.Has(exchange.Expect) {
		if body, ok := x.Request.Body.Buffered(); ok {
			b = append(b, body...)
		}
	}
	n, err := t.link.sock.Write(b)
	t.sent = n > 0
	if cap(b) > len(t.buf) {
		t.buf = b[:cap(b)] // it had to grow
	}
	t.r, t.w = 0, 0
	if err != nil {
		return t.fail(SendHead, Application, err)
	}
	if x.Request.Body.Sent() {
		return nil
	}
	if x.Request.Header.Has(exchange.Expect) {
		t.upload.hold() // until the application asks for it
		return nil
	}
	t.upload.start()
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
	var forwardedFor, forwardedProto []byte
	named := http1.NamesFields(&r.Header)
	for i := range r.Header.Fields {
		f := &r.Header.Fields[i]
		if named && http1.NamedByConnection(&r.Header, f) {
			continue
		}
		switch f.ID {
		case exchange.Other:
			if impostor(f.Name) {
				continue
			}
		case exchange.Connection, exchange.KeepAlive, exchange.ProxyConnection, exchange.Upgrade,
			exchange.TransferEncoding, exchange.ContentLength:
			continue // hop by hop, and framing: written anew below
		case exchange.Host:
			f.Value = r.Host
		case exchange.TE:
			if !http1.ListHas(f.Value, "trailers") {
				continue
			}
			b = append(b, "TE: trailers\r\n"...)
			continue
		case exchange.MSToken, exchange.MSClientCert, exchange.MSEvent, exchange.MSWinAuthToken,
			exchange.XForwardedHost, exchange.XForwardedPrefix, exchange.Forwarded:
			continue // ours to say, or nobody's
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
		}
		b = http1.AppendField(b, f.NameBytes(), f.Value)
	}
	b = t.appendOwn(b, forwardedFor, forwardedProto)
	if upgrade != nil {
		b = append(b, "Connection: Upgrade\r\nUpgrade: "...)
		b = append(append(b, upgrade...), "\r\n"...)
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
	if s := x.Conn.TLS; s != nil && len(s.PeerCertificates) > 0 {
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

// impostor reports whether a field name that has no number is, or becomes
// where '_' and '-' are taken for one another, one that only Perch may set.
// Some frameworks fold names so: CGI's variables know no '-'.
func impostor(name []byte) bool {
	const ours = "MS-ASPNETCORE"
	if len(name) >= len(ours) && (name[0]|0x20) == 'm' && exchange.EqualFold(name[:len(ours)], ours) {
		return true
	}
	if bytes.IndexByte(name, '_') < 0 {
		return false
	}
	folded := bytes.ReplaceAll(name, []byte("_"), []byte("-"))
	switch exchange.LookupField(folded) {
	case exchange.XForwardedFor, exchange.XForwardedProto, exchange.XForwardedHost,
		exchange.XForwardedPrefix, exchange.Forwarded, exchange.Host, exchange.ContentLength,
		exchange.TransferEncoding, exchange.Connection, exchange.Upgrade, exchange.TE:
		return true
	}
	return len(folded) >= len(ours) && exchange.EqualFold(folded[:len(ours)], ours)
}
