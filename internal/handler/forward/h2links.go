package forward

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perchserver/perch/internal/sockio"
)

// h2links are the connections of a channel to an application that speaks
// HTTP/2. There are a few, so that several processors can work, and more only
// where the application lets no further stream be opened on those.
type h2links struct {
	list atomic.Pointer[[]*h2link] // replaced, never changed

	mu      sync.Mutex
	dialing *h2dial // nil for none
	closed  atomic.Bool
}

// h2dial is a connection in the making, on a goroutine of its own. Who needs one
// meanwhile waits for it.
type h2dial struct {
	done    chan struct{}
	link    *h2link // from done on, or
	err     error
	waiting int // exchanges, under the lock of h2links; with the last of them it ends
	cancel  context.CancelFunc
}

// h2Crowded is how many exchanges a connection carries before another is made
// for the sake of the processors.
const h2Crowded = 16

// open opens a stream for an exchange on one of the connections.
func (s *h2links) open(k *call) error {
	for {
		seen := s.list.Load()
		if l := s.choose(k.c.f.watch.Loops()); l != nil {
			k.atHand()
			if err := s.openOn(l, k); err != errNoStreams {
				return err
			}
			continue
		}
		l, err := s.another(k, seen)
		switch {
		case err != nil:
			return err
		case l == nil: // there is one that was not seen, with room perhaps
			continue
		}
		k.atHand()
		if err := s.openOn(l, k); err != errNoStreams || !l.serves() {
			return err
		} // others were there first
	}
}

// openOn opens a stream on a connection, which is to end with it if the others
// have been told to end.
func (s *h2links) openOn(l *h2link, k *call) error {
	err := l.open(k)
	if s.closed.Load() {
		l.retire()
	}
	return err
}

// choose returns the connection with the fewest exchanges of those where a
// stream can be opened, nil if there should be another one.
func (s *h2links) choose(enough int) *h2link {
	var best *h2link
	alive := 0
	for _, l := range s.all() {
		free := l.free.Load()
		if free >= 0 {
			alive++
		}
		if free > 0 && (best == nil || l.load.Load() < best.load.Load()) {
			best = l
		}
	}
	if best != nil && best.load.Load() >= h2Crowded && alive < enough && !s.isDialing() {
		return nil
	}
	return best
}

func (s *h2links) all() []*h2link {
	if p := s.list.Load(); p != nil {
		return *p
	}
	return nil
}

func (s *h2links) isDialing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dialing != nil
}

// another makes a connection for an exchange that has not found one in the list
// as it was seen, or waits for the one that is being made and returns nil. A
// client that goes ends the wait.
func (s *h2links) another(k *call, seen *[]*h2link) (*h2link, error) {
	c := k.c
	s.mu.Lock()
	if s.list.Load() != seen {
		s.mu.Unlock()
		return nil, nil // it has been made meanwhile
	}
	d := s.dialing
	own := d == nil
	if own {
		ctx, cancel := context.WithCancel(context.Background())
		d = &h2dial{done: make(chan struct{}), cancel: cancel}
		s.dialing = d
		c.f.wait.Go(func() { s.dial(ctx, c, d) })
	}
	d.waiting++
	s.mu.Unlock()
	left := make(leaver)
	k.x.WhenGone(left)
	stays := true
	select {
	case <-d.done:
	case <-left:
		stays = false
	}
	k.x.WhenGone(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.waiting--; d.waiting == 0 {
		d.cancel()
		s.dialed(d) // who comes now is not to wait for that
	}
	switch {
	case !stays:
		s.unwanted(d)
		return nil, sockio.ErrAborted
	case own:
		return d.link, d.err
	}
	return nil, d.err
}

// dial makes a connection.
func (s *h2links) dial(ctx context.Context, c *Channel, d *h2dial) {
	l, err := c.connectHTTP2(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.link, d.err = l, err; err == nil {
		list := slices.DeleteFunc(slices.Clone(s.all()), func(l *h2link) bool { return l.free.Load() == gone })
		list = append(list, l)
		s.list.Store(&list)
	}
	s.dialed(d)
	s.unwanted(d)
	close(d.done)
}

// unwanted lets a connection end that nobody has waited for, if the others have
// been told to end. The lock is held.
func (s *h2links) unwanted(d *h2dial) {
	if s.closed.Load() && d.waiting == 0 && d.link != nil {
		d.link.retire()
	}
}

// dialed forgets a connection in the making. The lock is held.
func (s *h2links) dialed(d *h2dial) {
	if s.dialing == d {
		s.dialing = nil
	}
}

// leaver is closed when the client goes.
type leaver chan struct{}

// Abort implements exchange.Aborter. It is called under the lock of the exchange.
func (l leaver) Abort() {
	select {
	case <-l:
	default:
		close(l)
	}
}

// close lets all connections end when their exchanges have.
func (s *h2links) close() {
	s.closed.Store(true)
	for _, l := range s.all() {
		l.retire()
	}
}

// connectHTTP2 makes a connection on which the application has said what it
// allows for. So nothing of an exchange is sent to one that speaks something
// else.
func (c *Channel) connectHTTP2(ctx context.Context) (*h2link, error) {
	limit := c.connectLimit()
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	nc, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	sock := c.f.watch.Adopt(nc, nil)
	sock.LimitWrite(c.set.RequestTimeout)
	l := c.f.newH2Link(sock, max(limit-time.Since(begin), 1))
	stop := context.AfterFunc(ctx, sock.Abort)
	err = l.await()
	switch {
	case !stop():
		return nil, ctx.Err()
	case err != nil:
		return nil, err
	}
	return l, nil
}
