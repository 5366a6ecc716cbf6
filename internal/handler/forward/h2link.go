package forward

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perchserver/perch/internal/http2"
	"github.com/perchserver/perch/internal/http2/outlet"
	"github.com/perchserver/perch/internal/sockio"
)

// h2link is a connection to an application that speaks HTTP/2. The exchanges
// of many clients share it. One goroutine reads frames and puts what they
// bring where an exchange finds it; whoever has something to send finds nobody
// sending and sends for all, or leaves it to the one who does.
type h2link struct {
	f    *Forwarder
	sock *sockio.Conn
	load atomic.Int32 // exchanges on it
	free atomic.Int32 // streams that can be opened, or gone

	// Of the reading goroutine.
	in   [bufferSize]byte
	r, w int // in[r:w] is not consumed yet

	mu      sync.Mutex
	h2      *http2.Conn
	calls   []*call // exchanges on it
	touched []*call // those among them that frames have brought something since the last read
	out     outlet.Outlet
	ready   sync.Cond     // of who connects: for the application's settings
	retired bool          // ends when its exchanges have
	since   time.Duration // idle from then on
}

const (
	// h2StreamWindow bounds what is in memory of a response whose client is
	// slow. The connection's window is given back at once: that one waits must
	// not hold up the others.
	h2StreamWindow = 128 << 10
	h2ConnWindow   = 1 << 20

	// h2Tick is how often the waits of exchanges are looked at.
	h2Tick = 500 * time.Millisecond
)

// h2Limits are those of HTTP/1.1. Never written.
var h2Limits = http2.Limits{
	Head: headLimits, StreamWindow: h2StreamWindow, ConnWindow: h2ConnWindow,
	Calm: 1000, CalmSecond: 50, // the defaults for clients
}

// gone tells that no stream will ever be opened again.
const gone = -1

// errRetired is why a link ends that did not fail.
var errRetired = errors.New("the connection is not needed any more")

// newH2Link starts to speak on a connection, which belongs to it from then on.
// The application's settings must come within limit.
func (f *Forwarder) newH2Link(sock *sockio.Conn, limit time.Duration) *h2link {
	l := &h2link{f: f, sock: sock, h2: http2.NewClient(h2Limits, f.watch.Now().UnixNano())}
	l.ready.L = &l.mu
	l.out.Open(&l.mu, l.h2, sock, l.lost)
	l.h2.Wake(l)
	l.since = f.watch.Clock()
	sock.LimitRead(limit)
	f.wait.Go(l.receive)
	return l
}

// await waits for the application's settings.
func (l *h2link) await() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.out.Dead == nil && !l.h2.Settled() {
		l.ready.Wait()
	}
	return l.out.Dead
}

// receive reads frames until the connection ends.
func (l *h2link) receive() {
	var err error
	for err == nil {
		if err = l.h2.Next(); err == nil {
			err = l.take()
		}
	}
	l.end(err)
}

// Read is where the frames come from.
func (l *h2link) Read(p []byte) (n int, err error) {
	if l.r == l.w {
		if len(p) >= bufferSize/2 { // a large body needs no buffer on its way
			return l.fill(p)
		}
		if n, err = l.fill(l.in[:]); err != nil {
			return 0, err
		}
		l.r, l.w = 0, n
	}
	n = copy(p, l.in[l.r:l.w])
	l.r += n
	return n, nil
}

// fill reads from the socket. What came before it is put to work first: so an
// exchange is told once of a response that comes in one read.
func (l *h2link) fill(p []byte) (int, error) {
	for {
		if err := l.settle(); err != nil {
			return 0, err
		}
		n, err := l.sock.Read(p)
		if err != sockio.ErrLimit {
			return n, eof(err)
		}
	}
}

// settle is what there is to do before the socket is read.
func (l *h2link) settle() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, k := range l.touched {
		if l.touched[i] = nil; k != nil {
			k.touched = false
			k.wake.Broadcast()
		}
	}
	l.touched = l.touched[:0]
	l.out.FlushAside()
	l.out.Drain()
	return l.limit()
}

// limit sets the time until the reader has to look again, and tells what is
// due by now. The lock is held.
func (l *h2link) limit() error {
	now := l.f.watch.Clock()
	idle := now - l.since
	switch {
	case !l.h2.Settled():
		if l.sock.Expired() {
			return sockio.ErrLimit
		}
	case len(l.calls) > 0:
		for _, k := range l.calls {
			k.look(now)
		}
		l.out.FlushAside()
		l.sock.LimitRead(h2Tick)
	case l.retired, l.h2.Leaving(), idle >= idleLink:
		l.retired = true // nobody is to come before the end
		l.count()
		return errRetired
	default:
		l.sock.LimitRead(idleLink - idle)
	}
	return nil
}

// take applies the frame that was read.
func (l *h2link) take() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	settled := l.h2.Settled()
	ev, err := l.h2.Take(l.f.watch.Now().UnixNano())
	if err != nil {
		if bytes.HasPrefix(l.in[:l.w], []byte("HTTP/")) && !settled {
			err = &foreign{answer: bytes.Clone(l.in[:min(l.w, 64)])}
		}
		return err
	}
	if !settled && l.h2.Settled() {
		l.ready.Broadcast()
	}
	if ev.Kind == http2.Settings || ev.Kind == http2.Away {
		l.count()
	}
	switch {
	case ev.Stream == nil && (ev.Kind == http2.Room || ev.Kind == http2.Settings):
		for _, k := range l.calls { // settings may have changed all windows
			k.window.Broadcast()
		}
		l.out.Room.Signal()
	case ev.Kind == http2.Away:
		for _, k := range l.calls {
			if l.h2.Dropped(&k.Stream) {
				k.lose(errDropped)
			}
		}
	}
	if ev.Stream == nil {
		return nil
	}
	if k, ok := ev.Stream.Owner().(*call); ok {
		k.take(&ev)
	}
	return nil
}

// touch notes that an exchange has something to look at. The lock is held.
func (l *h2link) touch(k *call) {
	if !k.touched {
		k.touched = true
		l.touched = append(l.touched, k)
	}
}

// open opens a stream for an exchange. The error is errNoStreams if there is no
// room for one.
func (l *h2link) open(k *call) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.count() <= 0:
		return errNoStreams
	case k.request.Protocol != nil && !l.h2.Connects():
		return errNoWebSockets
	}
	l.h2.Open(&k.Stream, k, &k.request)
	k.link, k.wake.L, k.window.L = l, &l.mu, &l.mu
	k.since = l.f.watch.Clock()
	k.index = len(l.calls)
	if l.calls = append(l.calls, k); k.index == 0 {
		l.sock.LimitRead(h2Tick)
	}
	k.sendNow()
	l.count()
	l.flush()
	return nil
}

// serves reports whether there are exchanges on the connection, or may be.
func (l *h2link) serves() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count() > 0 || len(l.calls) > 0
}

// release forgets an exchange, and ends what may be open of it.
func (l *h2link) release(k *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.h2.Release(&k.Stream)
	last := len(l.calls) - 1
	l.calls[k.index] = l.calls[last]
	l.calls[k.index].index = k.index
	l.calls[last] = nil
	l.calls = l.calls[:last]
	l.count()
	if k.touched {
		k.touched = false
		for i := range l.touched {
			if l.touched[i] == k {
				l.touched[i] = nil
			}
		}
	}
	l.out.FlushAside()
	if last == 0 {
		l.since = l.f.watch.Clock()
		if l.retired || l.h2.Leaving() {
			l.sock.BreakRead()
		} else {
			l.sock.LimitRead(idleLink)
		}
	}
}

// count tells how the connection stands, for those who choose one. The lock is
// held.
func (l *h2link) count() int {
	free := l.h2.Openable()
	if l.out.Dead != nil || l.retired || l.h2.Leaving() {
		free = gone
	}
	l.load.Store(int32(len(l.calls)))
	l.free.Store(int32(free))
	return free
}

// retire lets the connection end when its exchanges have.
func (l *h2link) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retired = true
	if l.count(); len(l.calls) == 0 {
		l.sock.BreakRead()
	}
}

// flush sends what has gathered for the application. The lock is held, but not
// while bytes are on their way.
func (l *h2link) flush() { l.out.Flush(len(l.calls) > 1) }

// lost tells all exchanges that nothing can be sent any more. What has come of
// responses counts all the same: the reader goes on until it finds the end
// itself. The lock is held.
func (l *h2link) lost(err error) {
	l.count()
	for _, k := range l.calls {
		k.window.Broadcast()
	}
	if errors.Is(err, sockio.ErrLimit) {
		l.sock.Abort() // the application is there, and does not move
	}
}

// goodbye is how long an application may take to read why it is left.
const goodbye = time.Second

// end tells everybody why nothing more can come, the application included if
// it is to know, and closes the connection.
func (l *h2link) end(err error) {
	l.mu.Lock()
	if l.out.Dead != nil && errors.Is(err, sockio.ErrAborted) {
		err = l.out.Dead
	}
	why := &http2.Error{Code: http2.NoError}
	if l.out.Dead == nil && (err == errRetired || errors.As(err, &why) && !l.out.Sending()) {
		l.h2.GoAway(why)
		l.sock.LimitWrite(goodbye)
		late := time.AfterFunc(goodbye, l.sock.Abort) // whoever sends already has another limit, or none
		l.out.FlushAll()
		late.Stop()
	}
	if l.out.Dead == nil {
		l.out.Dead = err
	}
	l.count()
	for _, k := range l.calls {
		k.lose(err)
		k.wake.Broadcast()
	}
	l.ready.Broadcast()
	l.out.Room.Broadcast()
	l.sock.Abort()
	l.out.Finish()
	l.mu.Unlock()
	l.sock.Close()
}

// foreign is an answer in another protocol than HTTP/2.
type foreign struct{ answer []byte }

func (f *foreign) Error() string { return "the answer is not HTTP/2" }
