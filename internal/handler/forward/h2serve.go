package forward

import (
	"bytes"
	"errors"
	"io"
	"syscall"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
	"github.com/perchserver/perch/internal/http2"
)

// serveHTTP2 carries one exchange to an application that speaks HTTP/2, in the
// steps of Serve: there is a stream instead of a connection.
func (c *Channel) serveHTTP2(x *exchange.Exchange) error {
	x.Detach()
	k := c.f.calls.Get().(*call)
	k.c, k.x = c, x
	err := k.carry()
	k.release()
	return err
}

// attempts is how often a request is sent that the application refuses to look
// at, as it does when it has said that it goes away while the request was on
// its way to it.
const attempts = 3

func (k *call) carry() error {
	k.fields.collect(k.x, &k.c.set)
	webSocket, err := k.wantsWebSocket()
	if err != nil {
		return err
	}
	if grpc(&k.x.Request.Header) {
		k.x.Request.Body.Unhurried()
	}
	for n := 1; ; n++ {
		err := k.try(webSocket)
		if err == nil {
			return nil
		}
		if exchange.AsError(err).Resend && k.upload.whole {
			k.x.Request.Body.Unread()
			k.upload.whole, k.upload.body = false, nil
		}
		if n == attempts || !k.again(err) {
			return err
		}
		k.forget()
	}
}

// again reports whether the same exchange may be sent on another stream.
func (k *call) again(err error) bool {
	var f *Failure
	if !errors.As(err, &f) || f.Phase == Connect || !refused(f.Err) || k.received {
		return false
	}
	return !k.consumed()
}

// consumed reports whether something of the client's body is gone, and cannot
// be given back.
func (k *call) consumed() bool {
	r := &k.x.Request
	return r.HasBody() && (k.upload.consumed || !k.upload.whole && r.Body.Sent())
}

// try sends the request, and answers with what comes.
func (k *call) try(webSocket bool) error {
	if err := k.open(webSocket); err != nil {
		if err == errNoWebSockets {
			return err
		}
		if k.c.set.Refused != nil && errors.Is(err, syscall.ECONNREFUSED) {
			k.c.set.Refused()
		}
		return k.fail(Connect, Application, err)
	}
	k.x.WhenGone(k)
	defer func() {
		k.endUpload()
		k.x.WhenGone(nil)
		k.link.release(k)
	}()
	if err := k.readHead(); err != nil {
		return err
	}
	if webSocket && k.head.Status/100 == 2 {
		return k.switchProtocols()
	}
	return k.relay()
}

// open finds a connection and opens a stream with the head of the request
// (steps 1 and 2), and the body if it is at hand.
func (k *call) open(webSocket bool) error {
	r := &k.x.Request
	k.request = http2.RequestHead{
		Method: r.Method, Authority: r.Host,
		Path: r.Target.Forward, Query: r.Target.Query, HasQuery: r.Target.HasQuery,
		Fields: k.fields.list.Fields, Length: -1, Trailers: k.fields.trailers, End: !r.HasBody(),
	}
	switch {
	case webSocket:
		k.request.Protocol, k.request.End = webSocketProtocol, false
	case announces(r):
		k.request.Length = r.Length
	}
	k.readLimit, k.writeLimit = k.c.set.RequestTimeout, k.c.set.RequestTimeout
	return k.c.h2.open(k)
}

// atHand takes the body, if all of it is there and nobody waits to be asked
// for it. There is a connection by now.
func (k *call) atHand() {
	r := &k.x.Request
	if !r.HasBody() || k.holds() || k.consumed() {
		return
	}
	if body, ok := r.Body.Buffered(); ok {
		k.upload.body, k.upload.whole = body, true
	}
}

// readHead waits for the response head (step 4) and passes interim ones on.
func (k *call) readHead() error {
	for {
		first, err := k.next()
		switch {
		case err != nil:
			return k.fail(ReadHead, Application, err)
		case first == nil:
			return nil
		case first.status == 100: // the client's driver asks when the upload reads
			k.ask()
			continue
		}
		http1.StripHopByHop(&first.header, &http1.Framing{})
		if err := k.x.Response.Writer.Inform(first.status, &first.header); err != nil {
			return k.fail(SendResponse, Client, err)
		}
	}
}

// ask lets a body go that was held back.
func (k *call) ask() {
	k.link.mu.Lock()
	defer k.link.mu.Unlock()
	if k.upload.state == heldUpload {
		k.startUpload()
	}
}

// relay answers with the response (step 5).
func (k *call) relay() error {
	r := &k.x.Response
	r.Status = k.head.Status
	passFields(&k.head, &r.Header)
	data, err := k.chunk(nil, false)
	if r.Length = k.head.Length; r.Length < 0 && err == io.EOF && k.x.Request.Proto < exchange.HTTP2 && len(k.trailer) == 0 {
		r.Length = int64(len(data)) // what is known is said where it frames the message
	}
	if err := r.Writer.WriteHead(k.x); err != nil {
		return k.fail(SendResponse, Client, err)
	}
	for {
		if len(data) > 0 {
			if _, err := r.Writer.Write(data); err != nil {
				return k.fail(SendResponse, Client, err)
			}
		}
		switch {
		case err == io.EOF:
			r.Trailer = append(r.Trailer, k.trailer...)
			return nil
		case err != nil && k.bodiless():
			return nil // the head was all there is
		case err != nil:
			return k.fail(ReadBody, Application, err)
		}
		if data, err = k.chunk(data, false); len(data) > 0 || err != nil {
			continue
		}
		if err := r.Writer.Flush(); err != nil {
			return k.fail(SendResponse, Client, err)
		}
		data, err = k.chunk(nil, true)
	}
}

// bodiless reports whether the response ends with its head.
func (k *call) bodiless() bool {
	return k.x.Request.Method == "HEAD" || !http1.BodyAllowed(k.head.Status)
}

// fail makes the error of an exchange, as that of a flight does.
func (k *call) fail(phase Phase, side Side, err error) error {
	sent := k.link != nil
	switch {
	case side == Client:
	case k.x.Gone():
		side = Client
	case sent:
		k.link.mu.Lock()
		uploading, failed, client := k.upload.state == running, k.upload.err, k.upload.client
		k.link.mu.Unlock()
		switch {
		case client:
			return failed
		case phase == ReadHead && !k.received && (uploading || failed != nil):
			phase = SendBody
		}
	}
	f := &Failure{Phase: phase, Side: side, Sent: sent, Received: k.received, Address: k.c.set.Address.String(), Err: err}
	if side == Client {
		return f.clients()
	}
	var other *foreign
	if errors.As(err, &other) {
		f.Answer = quoted(other.answer)
	}
	e := f.applications(k.mayResend(err))
	k.tell(e, err)
	return e
}

// mayResend is that of a flight, for a stream: what the application is known
// not to have looked at counts as never written.
func (k *call) mayResend(err error) bool {
	switch {
	case k.received || timedOut(err):
		return false
	case k.link != nil && !refused(err):
		return k.x.Request.Idempotent()
	}
	return !k.consumed()
}

// tell says how the client learns that there is no whole response: with the
// code of the application's own reset, or for gRPC, where a broken connection
// has a status, with that. A gRPC call that is reset before its response is
// reset at the client: that is how an application says that a deadline passed,
// where a 502 would say that it is not there.
func (k *call) tell(e *exchange.Error, err error) {
	r := &k.x.Response
	var reset streamReset
	switch {
	case errors.As(err, &reset):
		switch reset.code {
		case http2.Cancel, http2.EnhanceYourCalm, http2.ConnectError, http2.HTTP11Required:
			e.Code = uint32(reset.code)
			e.Cut = !r.Started && k.x.Request.Proto >= exchange.HTTP2 && grpc(&k.x.Request.Header)
		}
	case r.Started && k.x.Request.Proto >= exchange.HTTP2 && grpc(&r.Header):
		e.Told = true
		r.Trailer = append(r.Trailer[:0], unavailable...)
	}
}

// unavailable is status 14 of gRPC: what a client of the application's own
// would see when its connection breaks. Never written.
var unavailable = []exchange.Field{
	{Name: []byte("grpc-status"), Value: []byte("14")},
	{Name: []byte("grpc-message"), Value: []byte("the application did not complete its response")},
}

// grpc reports whether a message is one of gRPC: a call takes as long as its
// deadline says, however seldom one side has something to say.
func grpc(h *exchange.Header) bool {
	return bytes.HasPrefix(h.Get(exchange.ContentType), []byte("application/grpc"))
}

var _ exchange.Aborter = (*call)(nil)
