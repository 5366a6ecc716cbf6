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
	t.fields.begin(t.x, &t.c.set)
	b = http1.AppendRequestLine(b, r.Method, r.Target.Forward, r.Target.Query, r.Target.HasQuery)
	for i := range r.Header.Fields {
		f := &r.Header.Fields[i]
		if v, ok := t.fields.take(r, f); ok {
			b = http1.AppendField(b, f.NameBytes(), v)
		}
	}
	t.fields.addOwn(t.x, &t.c.set)
	b = http1.AppendFields(b, &t.fields.list)
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
// among them. They are taken one by one: begin, take for each of the client's,
// addOwn; or all at once with collect.
type requestFields struct {
	list     exchange.Header // of our own; after collect all of them
	text     []byte          // what the values of our own are made in
	upgrade  []byte          // the protocol to change to, nil for none
	trailers bool            // those of the response may be sent

	named  bool // Connection names fields of the client's
	hosted bool // Host is among them

	forwardedFor, forwardedProto []byte // what proxies before Perch have said
}

// collect lists the fields for a request.
func (q *requestFields) collect(x *exchange.Exchange, set *Settings) {
	q.begin(x, set)
	r := &x.Request
	for i := range r.Header.Fields {
		f := &r.Header.Fields[i]
		if v, ok := q.take(r, f); ok {
			q.list.Append(f.ID, f.Name, v)
		}
	}
	q.addOwn(x, set)
}

func (q *requestFields) begin(x *exchange.Exchange, set *Settings) {
	r := &x.Request
	q.forget()
	q.upgrade, q.named = r.Upgrade, http1.NamesFields(&r.Header)
	if set.NoWebSockets && exchange.EqualFold(q.upgrade, "websocket") {
		q.upgrade = nil
	}
}

// take reports whether a field of the client's goes on, and with what value.
func (q *requestFields) take(r *exchange.Request, f *exchange.Field) ([]byte, bool) {
	if q.named && http1.NamedByConnection(&r.Header, f) {
		return nil, false
	}
	switch f.ID {
	case exchange.Host: // that of an absolute target goes before the field
		q.hosted = true
		return r.Host, true
	case exchange.Connection, exchange.KeepAlive, exchange.ProxyConnection, exchange.Upgrade,
		exchange.TransferEncoding, exchange.ContentLength:
		return nil, false // hop by hop, and framing: written anew
	case exchange.Expect:
		return f.Value, r.Proto >= exchange.HTTP11 // or its client cannot be asked (RFC 9110 section 10.1.1)
	case exchange.TE:
		q.trailers = q.trailers || http1.ListHas(f.Value, "trailers")
		return nil, false
	case exchange.XForwardedFor:
		q.forwardedFor = join(q.forwardedFor, f.Value)
		return nil, false
	case exchange.XForwardedProto:
		q.forwardedProto = join(q.forwardedProto, f.Value)
		return nil, false
	case exchange.SecWebSocketExtensions:
		return f.Value, q.upgrade == nil // spec 3.6: extensions are never negotiated
	}
	return f.Value, !ours(f)
}

// addOwn adds the fields that only Perch may set, and a Host where HTTP/1.0
// came without.
func (q *requestFields) addOwn(x *exchange.Exchange, set *Settings) {
	if !q.hosted {
		q.list.Add(exchange.Host, x.Request.Host)
	}
	q.add(exchange.XForwardedFor, q.forwardedFor, x.Conn.RemoteText)
	q.add(exchange.XForwardedProto, q.forwardedProto, x.Request.Scheme)
	if set.Token != "" {
		q.add(exchange.MSToken, nil, set.Token)
	}
	if s := x.Conn.TLS; s != nil && len(s.VerifiedChains) > 0 {
		start := len(q.text)
		q.text = base64.StdEncoding.AppendEncode(q.text, s.PeerCertificates[0].Raw)
		q.list.Add(exchange.MSClientCert, q.text[start:])
	}
}

// add adds a field that goes on from what others have written in it.
func (q *requestFields) add(id exchange.FieldID, others []byte, own string) {
	start := len(q.text)
	if len(others) > 0 {
		q.text = append(append(q.text, others...), ", "...)
	}
	q.text = append(q.text, own...)
	q.list.Add(id, q.text[start:])
}

// forget lets go of what belongs to the client's connection.
func (q *requestFields) forget() {
	q.list.Reset()
	list, text := q.list, q.text[:0]
	*q = requestFields{}
	q.list, q.text = list, text
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
