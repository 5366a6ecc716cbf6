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
		if !t.sent {
			r.Body.Unread()
		}
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
	t.fields.collect(t.x, &t.c.set)
	b = http1.AppendRequestLine(b, r.Method, r.Target.Forward, r.Target.Query, r.Target.HasQuery)
	for i := range t.fields.list {
		f := &t.fields.list[i]
		b = http1.AppendField(b, f.NameBytes(), f.Value)
	}
	switch {
	case t.fields.upgrade != nil:
		b = append(b, "Connection: Upgrade\r\nUpgrade: "...)
		b = append(append(b, t.fields.upgrade...), "\r\n"...)
	case t.fields.trailers: // RFC 9110 section 10.1.4: TE is for one hop, and named so
		b = append(b, "Connection: TE\r\nTE: trailers\r\n"...)
	}
	switch {
	case r.Length < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case announces(r):
		b = http1.AppendLength(b, r.Length)
	}
	return append(b, '\r', '\n')
}

// announces reports whether the application is told a Content-Length.
func announces(r *exchange.Request) bool {
	return r.Length > 0 || r.Length == 0 && r.Header.Has(exchange.ContentLength)
}

// requestFields are the fields that the application gets, whatever the version
// of HTTP that it speaks, and what else the client's ask for. Framing is not
// among them.
type requestFields struct {
	list     []exchange.Field // the first of them may be Host
	text     []byte           // what the values of our own are made in
	upgrade  []byte           // the protocol to change to, nil for none
	trailers bool             // those of the response may be sent
}

// collect takes the fields of a request.
func (q *requestFields) collect(x *exchange.Exchange, set *Settings) {
	r := &x.Request
	q.list, q.text, q.upgrade, q.trailers = q.list[:0], q.text[:0], r.Upgrade, false
	if set.NoWebSockets && exchange.EqualFold(q.upgrade, "websocket") {
		q.upgrade = nil
	}
	named := http1.NamesFields(&r.Header)
	var hosted bool
	var forwardedFor, forwardedProto []byte
	for i := range r.Header.Fields {
		f := &r.Header.Fields[i]
		if named && http1.NamedByConnection(&r.Header, f) {
			continue
		}
		switch f.ID {
		case exchange.Host: // that of an absolute target goes before the field
			hosted = true
			q.list = append(q.list, exchange.Field{ID: exchange.Host, Name: f.Name, Value: r.Host})
			continue
		case exchange.Connection, exchange.KeepAlive, exchange.ProxyConnection, exchange.Upgrade,
			exchange.TransferEncoding, exchange.ContentLength:
			continue // hop by hop, and framing: written anew
		case exchange.Expect:
			if r.Proto < exchange.HTTP11 {
				continue // its client cannot be asked (RFC 9110 section 10.1.1)
			}
		case exchange.TE:
			q.trailers = q.trailers || http1.ListHas(f.Value, "trailers")
			continue
		case exchange.XForwardedFor:
			forwardedFor = join(forwardedFor, f.Value)
			continue
		case exchange.XForwardedProto:
			forwardedProto = join(forwardedProto, f.Value)
			continue
		case exchange.SecWebSocketExtensions:
			if q.upgrade != nil {
				continue // spec 3.6: extensions are never negotiated
			}
		default:
			if ours(f) {
				continue
			}
		}
		q.list = append(q.list, *f)
	}
	if !hosted { // HTTP/1.0 may come without
		q.list = append(q.list, exchange.Field{ID: exchange.Host, Value: r.Host})
	}
	q.addOwn(x, set, forwardedFor, forwardedProto)
}

// addOwn adds the fields that only Perch may set.
func (q *requestFields) addOwn(x *exchange.Exchange, set *Settings, forwardedFor, forwardedProto []byte) {
	q.add(exchange.XForwardedFor, forwardedFor, x.Conn.RemoteText)
	q.add(exchange.XForwardedProto, forwardedProto, x.Request.Scheme)
	if set.Token != "" {
		q.add(exchange.MSToken, nil, set.Token)
	}
	if s := x.Conn.TLS; s != nil && len(s.VerifiedChains) > 0 {
		start := len(q.text)
		q.text = base64.StdEncoding.AppendEncode(q.text, s.PeerCertificates[0].Raw)
		q.list = append(q.list, exchange.Field{ID: exchange.MSClientCert, Value: q.text[start:]})
	}
}

// add adds a field that goes on from what others have written in it.
func (q *requestFields) add(id exchange.FieldID, others []byte, own string) {
	start := len(q.text)
	if len(others) > 0 {
		q.text = append(append(q.text, others...), ", "...)
	}
	q.text = append(q.text, own...)
	q.list = append(q.list, exchange.Field{ID: id, Value: q.text[start:]})
}

// forget lets go of what belongs to the client's connection.
func (q *requestFields) forget() {
	clear(q.list)
	q.list, q.upgrade = q.list[:0], nil
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
