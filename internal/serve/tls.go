package serve

import (
	"crypto/tls"
	"errors"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
	"github.com/perchserver/perch/internal/http2"
	"github.com/perchserver/perch/internal/sockio"
)

// runSecure makes the connection a TLS one, once the client has begun. It is
// served with the protocol that the handshake has agreed on, beginning with what
// came behind it. The task that it may run on leaves its loop, and brings a stack
// that has seen handshakes before.
func (c *conn) runSecure() {
	defer c.survive()
	c.sock.Leave()
	l := c.greets
	c.greets = nil
	switch {
	case c.sock.Aborted() || c.sock.Expired():
		c.failed(sockio.ErrLimit)
		c.close()
	case !c.secure(l):
		c.Drop()
		c.close()
	case c.facts.TLS.NegotiatedProtocol == "h2":
		c.serveHTTP2(nil, http2.Preface)
	case c.sock.CanPark():
		c.sock.WakeOwner()
	default:
		c.run(false)
	}
}

// secure does the handshake, within the header time, which runs since the
// connection was accepted. It reports whether the connection goes on.
func (c *conn) secure(l *Listener) bool {
	t := tls.Server(c.sock.Transport(), l.TLS)
	if err := t.Handshake(); err != nil {
		c.failed(err)
		if c.idle.CompareAndSwap(true, false) {
			c.refuseClear(err)
		}
		return false
	}
	c.sock.LimitRead(0)
	c.sock.Through(t)
	state := t.ConnectionState()
	if l.Verify != nil {
		c.facts.Authorities = l.Verify(c.sock.Transport().LocalAddr(), &state)
	}
	c.facts.TLS = &state
	return c.idle.CompareAndSwap(true, false)
}

// failed notes a handshake that came to nothing.
func (c *conn) failed(err error) {
	c.set.Log.Debug("no TLS connection", "connection", c.facts.ID(), "remote", c.facts.RemoteText, "err", err)
}

// refuseClear answers a client that speaks HTTP where it should speak TLS.
func (c *conn) refuseClear(err error) {
	var record tls.RecordHeaderError
	if !errors.As(err, &record) || record.Conn == nil || http1.CheckStart(record.RecordHeader[0]) != nil {
		return
	}
	c.Hold()
	c.session.refuseHead(errClearOnTLS)
}

// errClearOnTLS is never written.
var errClearOnTLS = &exchange.Error{Status: 400, Op: "read request",
	Public: "This port expects TLS: use https instead of http",
	Err:    errors.New("clear text on a port for TLS")}
