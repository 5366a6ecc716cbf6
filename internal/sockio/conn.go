// Package sockio is how bytes meet sockets: a Conn reads and writes one
// without the costs of the general path, moves bodies between two inside the
// kernel, and obeys limits that cost a store to set; a Watcher holds the
// coarse clock behind those limits and the place where idle connections wait
// without a goroutine.
//
// It knows no protocol. The drivers (internal/serve) and the forwarder
// (internal/handler/forward) import it, and internal/listen, for how it wants
// its sockets; it imports nothing of Perch.
package sockio

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// ErrLimit is what Read, Write and Splice return when a limit set with
// LimitRead or LimitWrite has passed.
var ErrLimit error = limitError{}

// limitError is a net.Error, so that whoever reads through the Transport of a
// connection, crypto/tls for one, knows that reading may go on later.
type limitError struct{}

func (limitError) Error() string   { return "time limit passed" }
func (limitError) Timeout() bool   { return true }
func (limitError) Temporary() bool { return true }

// ErrAborted is what they return after Abort.
var ErrAborted = errors.New("aborted")

// ErrDry is what ReadNow returns when there is nothing to read.
var ErrDry error = dryError{}

// dryError is what any call comes to that would have to wait.
type dryError struct{ limitError }

func (dryError) Error() string { return "nothing to read now" }

// Conn is one socket. One goroutine may read while another writes; Abort,
// BreakRead and the limits may be used by any. Close is for the last user.
type Conn struct {
	// The sweeper looks at these for every connection there is, ten times a
	// second: they stand together, so that a look is one line of the cache.
	readLimit, writeLimit limit

	// stay is odd while the owner waits for something else than this
	// connection; the sweeper then watches for the peer's going.
	stay atomic.Uint32
	seen uint32 // sweeper's last view of stay

	// A socket of the kernel that a loop watches; fd is -1 for what is read and
	// written by way of nc: another system, or no socket.
	fd     int
	loop   *loop
	place  uint32 // in the loop
	rd, wr side
	ended  atomic.Bool // the peer has closed its side, or the connection is broken
	task   *Task       // that uses the connection; nil: goroutines do
	left   bool        // they do so since Leave

	nc      net.Conn
	w       *Watcher
	index   int // in the watcher's list, -1 once taken out
	owner   Owner
	near    Memory // of the owner
	aborted atomic.Bool
	rate    atomic.Int64 // bytes a second, see MinRate

	// unsent is what the kernel held for the peer when the sweeper first
	// looked at the present wait to write, or unsampled.
	unsent atomic.Int64

	layer layer // what Read and Write go through; see Through
}

// Owner is told what the watcher sees of a connection.
type Owner interface {
	// Wake is called on a task when a parked connection has something to
	// read, has been closed by its peer or aborted, or when its time to idle
	// has passed. It may wait for sockets; before it waits for anything else,
	// it detaches the task. It must not panic.
	Wake()

	// Gone is called when the peer of a connection that is busy with
	// something else (Stay) has closed its side. It may be called again. It
	// must not block.
	Gone()
}

// limit is a coarse clock time in nanoseconds by which bytes must have moved,
// or one of the two values below.
type limit struct {
	at    atomic.Int64
	grace atomic.Int64 // how long it was set for
}

const (
	limitNone    = 0
	limitExpired = -1
)

// expire makes the limit fire if it has passed.
func (l *limit) expire(at, now int64) bool {
	return at > 0 && now >= at && l.at.CompareAndSwap(at, limitExpired)
}

func (l *limit) expired() bool { return l.at.Load() == limitExpired }

// arm sets the limit, unless it has fired.
func (l *limit) arm(at int64) bool {
	for {
		old := l.at.Load()
		if old == limitExpired {
			return false
		}
		if l.at.CompareAndSwap(old, at) {
			return true
		}
	}
}

// clear takes the limit away and reports whether it had not fired.
func (l *limit) clear() bool {
	return l.at.Load() == limitNone || l.at.Swap(limitNone) != limitExpired
}

// disarm takes the limit away, unless it has fired.
func (l *limit) disarm() { l.arm(limitNone) }

// Read reads what is there, at least one byte, waiting if need be.
func (c *Conn) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	if c.layer.Layer != nil {
		return c.layer.read(p)
	}
	return c.receive(p)
}

// receive is Read from the socket.
func (c *Conn) receive(p []byte) (n int, err error) {
	if c.fd < 0 {
		return c.readGeneral(p)
	}
	for {
		if err := c.wait(&c.rd, &c.readLimit); err != nil {
			return 0, err
		}
		if n, err = c.tryReceive(p); err != ErrDry {
			return n, err
		}
	}
}

// wait waits until a system call on s may succeed.
func (c *Conn) wait(s *side, l *limit) error {
	for told := false; ; {
		if err := c.broken(l); err != nil {
			if told {
				s.again() // the news was of more than that, maybe
			}
			return err
		}
		if told || s.take() {
			return nil
		}
		if told = c.task.await(s); !told {
			s.block()
		}
	}
}

// broken is why no call is to be made any more: ErrAborted, ErrLimit or nil.
func (c *Conn) broken(l *limit) error {
	switch {
	case c.aborted.Load():
		return ErrAborted
	case l.expired():
		return ErrLimit
	}
	return nil
}

// Holder has the buffer of a read that may have to wait for long. Its methods
// are called on the goroutine that reads, and must not block.
type Holder interface {
	Hold() []byte // there may be something to read
	Drop()        // there is not: the buffer is wanted elsewhere
}

// ReadHeld is Read into a buffer that is held only while there is something
// to read, so that a thousand connections that wait need none. Without an
// error, the buffer is held when it returns. (Where waiting is not ours to
// do, it is held all the time.)
func (c *Conn) ReadHeld(h Holder) (n int, err error) {
	if c.layer.Layer != nil {
		return c.layer.readHeld(h)
	}
	if c.fd < 0 {
		if n, err = c.readGeneral(h.Hold()); err != nil {
			h.Drop()
		}
		return n, err
	}
	for {
		if n, err = c.ReadNow(h); err != ErrDry {
			return n, err
		}
		if err := c.wait(&c.rd, &c.readLimit); err != nil {
			return 0, err
		}
		c.rd.again()
	}
}

// ReadNow is ReadHeld for who would rather park than wait: with nothing to
// read, it returns ErrDry. It is for connections that can park.
func (c *Conn) ReadNow(h Holder) (n int, err error) {
	if c.layer.Layer != nil {
		return c.layer.readNow(h)
	}
	switch {
	case c.aborted.Load():
		err = ErrAborted
	case !c.rd.take():
		err = ErrDry
	default:
		n, err = c.tryReceive(h.Hold())
	}
	if err != nil {
		h.Drop()
	}
	return n, err
}

// readGeneral reads by way of nc, which waits in its own way.
func (c *Conn) readGeneral(p []byte) (n int, err error) {
	c.task.Detach()
	for {
		n, err = c.nc.Read(p)
		if err == nil || err == io.EOF {
			return n, err
		}
		if !c.revive(err) {
			return n, c.cause(err, &c.readLimit)
		}
	}
}

// revive reports whether err comes of a read limit that was set anew after it
// had fired, and if so takes the deadline away that it left. Whoever sets a
// deadline says so before: so one that is set now is seen here, or stays.
func (c *Conn) revive(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || c.readLimit.expired() || c.aborted.Load() {
		return false
	}
	c.nc.SetReadDeadline(time.Time{})
	if c.aborted.Load() {
		c.nc.SetReadDeadline(past())
		return false
	}
	return !c.readLimit.expired()
}

// Write writes all of p.
func (c *Conn) Write(p []byte) (n int, err error) {
	if c.layer.Layer == nil {
		n, err = c.send(p)
	} else if n, err = c.layer.Write(p); err != nil {
		err = c.cause(err, &c.writeLimit)
	}
	c.task.wrote(n)
	return n, err
}

// send is Write to the socket.
func (c *Conn) send(p []byte) (n int, err error) {
	if c.fd < 0 {
		n, err = c.writeGeneral(p)
		if err != nil {
			err = c.cause(err, &c.writeLimit)
		}
		return n, err
	}
	return c.writeSocket(p, 0)
}

// writeSocket writes all of p, with flags of send(2).
func (c *Conn) writeSocket(p []byte, flags int) (n int, err error) {
	waited := false
	for n < len(p) && err == nil {
		var k int
		switch k, err = c.sendSome(p[n:], flags); err {
		case ErrDry:
			err, waited = nil, true
			c.armWrite(patience)
		case nil:
			n += k
		}
	}
	if waited {
		c.writeLimit.disarm()
	}
	return n, err
}

// sendSome sends what there is room for, or fails with ErrDry. Nearly always
// there is room, so a side that is ready is left so, until a call has found none:
// to take what is known, and to say so again, would cost as much as parsing.
func (c *Conn) sendSome(p []byte, flags int) (n int, err error) {
	if c.wr.state.Load() == sideReady && c.broken(&c.writeLimit) == nil {
		if n, err = c.trySend(p, flags); err != ErrDry {
			return n, err
		}
	}
	if err = c.wait(&c.wr, &c.writeLimit); err != nil {
		return 0, err
	}
	if n, err = c.trySend(p, flags); err != ErrDry {
		c.wr.again()
	}
	return n, err
}

// writeGeneral writes by way of nc, in pieces small enough for the limit to
// be one of progress.
func (c *Conn) writeGeneral(p []byte) (total int, err error) {
	c.task.Detach()
	for len(p) > 0 && err == nil {
		piece := p[:min(len(p), patience)]
		c.armWrite(len(piece))
		var n int
		n, err = c.nc.Write(piece)
		c.writeLimit.disarm()
		total, p = total+n, p[n:]
	}
	return total, err
}

// cause tells a passed limit and an abort from other errors.
func (c *Conn) cause(err error, l *limit) error {
	if broken := c.broken(l); broken != nil {
		return broken
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ErrLimit
	}
	return err
}

// LimitRead makes reads fail with ErrLimit once d has passed from now. The
// limit stays, over any number of reads, until it is set anew; 0 takes it
// away. It is kept by the coarse clock, so it fires up to two ticks and a fifth late.
// Setting it makes a connection readable again whose read limit has fired.
func (c *Conn) LimitRead(d time.Duration) {
	if c.readLimit.grace.Load() != int64(d) { // a look is cheaper
		c.readLimit.grace.Store(int64(d))
	}
	c.readLimit.at.Store(c.w.limit(d))
}

// BreakRead makes a read that waits fail with ErrLimit, and later ones, until
// the limit is set anew.
func (c *Conn) BreakRead() {
	c.readLimit.at.Store(limitExpired)
	c.breakOff(true, false)
}

// breakOff lets reads, or writes, that wait look at their limits.
func (c *Conn) breakOff(reads, writes bool) {
	switch {
	case c.fd >= 0:
		if reads {
			c.signal(&c.rd, true)
		}
		if writes {
			c.signal(&c.wr, true)
		}
	case reads && writes:
		c.nc.SetDeadline(past())
	case reads:
		c.nc.SetReadDeadline(past())
	case writes:
		c.nc.SetWriteDeadline(past())
	}
}

// LimitWrite makes a write fail with ErrLimit when the peer has not taken
// bytes for d; 0 waits for ever. Writing without waiting costs nothing. With
// a minimum rate (see MinRate), d is the least it is given. A write limit
// that has fired is final.
func (c *Conn) LimitWrite(d time.Duration) { c.writeLimit.grace.Store(int64(d)) }

// MinRate says how many bytes a second the peer must take of those that wait
// for it, and send while Splice reads from it; 0, as at first, is satisfied
// with any.
func (c *Conn) MinRate(bytes int64) { c.rate.Store(bytes) }

// patience is how many bytes a peer is at most given time for by the minimum
// rate, those that wait for it or those that it has sent before: at 240 bytes
// a second it may stall for 68 seconds, as a telephone in a tunnel does. It is
// about what a blocked socket holds at least.
const patience = 16 << 10

const unsampled = -1

// armWrite starts the write limit, because a write of so many bytes may have
// to wait.
func (c *Conn) armWrite(bytes int) {
	if d := c.allowed(bytes); d > 0 {
		c.unsent.Store(unsampled)
		c.writeLimit.arm(c.w.limit(d))
	}
}

// allowed returns how long the peer may take for waiting bytes.
func (c *Conn) allowed(bytes int) time.Duration {
	d := time.Duration(c.writeLimit.grace.Load())
	if rate := c.rate.Load(); d > 0 && rate > 0 {
		d = max(d, time.Duration(min(bytes, patience))*time.Second/time.Duration(rate))
	}
	return d
}

// Unlimit takes both limits away and reports whether the connection is still
// whole: false if one of them fired or it was aborted.
func (c *Conn) Unlimit() bool {
	r, w := c.readLimit.clear(), c.writeLimit.clear()
	return r && w && !c.aborted.Load()
}

// Extend starts the read limit anew, if there is one and it has not fired.
func (c *Conn) Extend() {
	if at := c.readLimit.at.Load(); at > 0 {
		c.readLimit.at.CompareAndSwap(at, c.w.limit(time.Duration(c.readLimit.grace.Load())))
	}
}

// Abort breaks off reads and writes that wait, and all later ones. A parked
// connection is woken.
func (c *Conn) Abort() {
	c.aborted.Store(true)
	c.breakOff(true, true)
}

// Expired reports whether the read limit has fired.
func (c *Conn) Expired() bool { return c.readLimit.expired() }

// Stuck reports whether the write limit has fired: the peer takes nothing.
func (c *Conn) Stuck() bool { return c.writeLimit.expired() }

// Aborted reports whether Abort was called.
func (c *Conn) Aborted() bool { return c.aborted.Load() }

// Stay tells the watcher that the owner waits for something else (true), or
// does so no longer. If the wait is longer than a tick or two, the watcher
// looks out for the peer's going.
func (c *Conn) Stay(waiting bool) {
	if (c.stay.Load()&1 == 1) != waiting {
		c.stay.Add(1)
	}
}

// SendFile sends head, and behind it n bytes of the regular file f from off
// on, inside the kernel where it can. It returns how many bytes of the file
// were sent; they are fewer than n, without an error, where the file ends
// early. The position of f is neither used nor changed, so one open file
// serves any number of connections. The caller keeps f open meanwhile.
func (c *Conn) SendFile(head []byte, f *os.File, off, n int64) (int64, error) {
	if c.fd >= 0 && c.layer.Layer == nil && n > 0 {
		if sent, err := c.sendFile(head, f, off, n); err != errNoSendFile {
			return sent, err
		}
		head = nil
	}
	if _, err := c.Write(head); err != nil {
		return 0, err
	}
	buf := c.w.buffers.Get().(*[copySize]byte)
	defer c.w.buffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{c}, io.NewSectionReader(f, off, n), buf[:])
}

var errNoSendFile = errors.New("not a file that the kernel sends")

// CloseWrite ends the sending direction.
func (c *Conn) CloseWrite() error {
	if c.layer.Layer != nil {
		if err := c.layer.CloseWrite(); err != nil {
			return err
		}
	}
	if c.fd >= 0 {
		return c.shutdown()
	}
	if h, ok := c.nc.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return c.nc.Close()
}

// Reset makes Close drop what was not sent yet and tell the peer that the
// connection broke, where the transport can.
func (c *Conn) Reset() {
	c.layer.broken = true
	if c.fd >= 0 {
		c.linger()
		return
	}
	if l, ok := c.nc.(interface{ SetLinger(int) error }); ok {
		l.SetLinger(0)
	}
}

// Close closes the socket and takes it out of the watcher. It is for the last
// one who uses the connection: to break off what others do, there is Abort. A
// layer says so to the peer first, unless the connection was aborted or is to
// be reset. A peer whose write limit has fired is reset: the kernel would go on
// offering it what it does not take, for hours where it takes a little, and what
// it holds for that counts nowhere.
func (c *Conn) Close() error {
	if c.layer.Layer != nil && !c.layer.broken && !c.aborted.Load() {
		c.layer.CloseWrite()
	}
	if !c.w.remove(c) {
		return net.ErrClosed
	}
	if c.writeLimit.expired() {
		c.Reset()
	}
	c.aborted.Store(true)
	c.rejoin()
	if c.fd >= 0 {
		return c.closeSocket()
	}
	return c.nc.Close()
}

// Quiet is Alive for one who takes an idle connection into use, by what the loop
// has been told, which costs nothing. A task of the loop knows by that of all that
// came before the event which it handles now. Elsewhere the loop may be a moment
// behind: there it is good enough for one who is lenient, as who can try again.
func (c *Conn) Quiet(lenient bool) bool {
	if c.fd >= 0 && (lenient || c.task.Attached() && c.task.loop == c.loop) {
		return !c.aborted.Load() && (c.rd.state.Load() != sideReady || c.Alive())
	}
	return c.Alive()
}

// Silent is Alive for one to whom the connection does not belong, so that it may
// be closed at the same moment: that waits for the look, and what is closed is
// looked at no more.
func (c *Conn) Silent() bool {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.index >= 0 && c.Alive() // Close begins with taking it out
}

// Leave lets goroutines use the connection instead of its task, which is
// detached, until it parks or is closed.
func (c *Conn) Leave() {
	c.task.Detach()
	c.task = nil
	if !c.left {
		c.left = true
		c.w.goroutines.Add(1)
	}
}

// rejoin ends what Leave began.
func (c *Conn) rejoin() {
	if c.left {
		c.left = false
		c.w.goroutines.Add(-1)
	}
}

// UseTask says what uses the connection from now on: t, which waits for it on
// its loop while it is attached, or with nil goroutines.
func (c *Conn) UseTask(t *Task) { c.task = t }

// Task returns the task that uses the connection, nil if goroutines do.
func (c *Conn) Task() *Task { return c.task }

// past is a time that has passed long ago, so a deadline that fires at once.
func past() time.Time { return time.Unix(1, 0) }
