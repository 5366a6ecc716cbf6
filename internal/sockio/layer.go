package sockio

import (
	"net"
	"time"
)

// Layer is a transformation between the owner of a connection and its socket,
// as *tls.Conn is. It reads and writes the Transport of the connection. One
// goroutine may read while another writes.
//
// After a Read that failed with an error whose Temporary method says so, such
// as ErrLimit, it must be possible to read on, and nothing that could have
// been returned may wait in the layer. (crypto/tls keeps an incomplete record
// and forgets errors that are temporary.)
type Layer interface {
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)

	// CloseWrite tells the peer that nothing follows.
	CloseWrite() error
}

// layer is the Layer of one connection, nil as long as there is none.
type layer struct {
	Layer
	conn    *Conn
	broken  bool    // the peer is not to be told that this is the end
	calls   calls   // of what reads the layer
	drained bool    // the last read found nothing in it
	first   [1]byte // of a read whose buffer is not held yet
}

// calls says which reads of the socket a layer may do.
type calls uint8

const (
	allCalls calls = iota // those that wait, too
	dryCalls              // those that do not wait
	noCalls               // none: only what it holds already is to be read
)

// Through lets all that follows on c go through l: reads, writes, transfers.
// Limits and Abort go on to hold for the socket beneath. It is called before
// the connection is given to a second goroutine, and once.
func (c *Conn) Through(l Layer) { c.layer.Layer = l }

// read keeps the contract of Conn.Read: bytes or an error, not both. The error
// comes again.
func (l *layer) read(p []byte) (int, error) {
	n, err := l.Read(p)
	l.drained = err == ErrLimit || err == ErrDry
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// Drained reports whether nothing that could be read waits in the layer, so
// that the socket tells all there is to know: the last read ended with
// ErrLimit or ErrDry, or there is no layer. A connection that is not drained must not
// park, or what waits is not read until the peer sends more.
func (c *Conn) Drained() bool { return c.layer.Layer == nil || c.layer.drained }

// readHeld waits for one byte that it has room for itself, and takes a buffer
// for the rest of what came with it.
func (l *layer) readHeld(h Holder) (int, error) {
	h.Drop()
	if _, err := l.read(l.first[:]); err != nil {
		return 0, err
	}
	p := h.Hold()
	p[0] = l.first[0]
	l.calls = noCalls
	n, _ := l.Read(p[1:]) // an error will come again
	l.calls = allCalls
	return 1 + n, nil
}

// readNow is readHeld without waiting, so with the buffer from the beginning.
func (l *layer) readNow(h Holder) (int, error) {
	l.calls = dryCalls
	n, err := l.read(h.Hold())
	l.calls = allCalls
	if err != nil {
		h.Drop()
	}
	return n, err
}

// Transport returns the socket as a Layer wants it: it is read and written in
// the ways of c, within the limits of c. Deadlines that are set on it are
// without effect.
func (c *Conn) Transport() net.Conn { return (*transport)(c) }

// transport is a Conn beneath its layer.
type transport Conn

func (t *transport) Read(p []byte) (int, error) {
	c := (*Conn)(t)
	switch {
	case c.layer.calls == allCalls:
		return c.receive(p)
	case c.aborted.Load():
		return 0, ErrAborted
	case c.layer.calls == noCalls || !c.rd.take():
		return 0, ErrDry
	}
	return c.tryReceive(p)
}

func (t *transport) Write(p []byte) (int, error) { return (*Conn)(t).send(p) }

// Close breaks everything off. Closing the socket is the business of the
// connection's owner.
func (t *transport) Close() error {
	(*Conn)(t).Abort()
	return nil
}

func (t *transport) LocalAddr() net.Addr  { return t.nc.LocalAddr() }
func (t *transport) RemoteAddr() net.Addr { return t.nc.RemoteAddr() }

func (t *transport) SetDeadline(time.Time) error      { return nil }
func (t *transport) SetReadDeadline(time.Time) error  { return nil }
func (t *transport) SetWriteDeadline(time.Time) error { return nil }
