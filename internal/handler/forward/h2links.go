package forward

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// h2links are the connections of a channel to an application that speaks
// HTTP/2. There are a few, so that several processors can work, and more only
// where the application lets no further stream be opened on those.
type h2links struct {
	list atomic.Pointer[[]*h2link] // replaced, never changed

	mu      sync.Mutex
	dialing *h2dial // nil for none
	closed  bool
}

// h2dial is a connection in the making. Who needs one meanwhile waits for it.
type h2dial struct {
	done chan struct{}
	err  error
}

// h2Crowded is how many exchanges a connection carries before another is made
// for the sake of the processors.
const h2Crowded = 16

// open opens a stream for an exchange on one of the connections.
func (s *h2links) open(k *call) error {
	for {
		if l := s.choose(k.c.f.watch.Loops()); l != nil {
			k.atHand()
			if err := l.open(k); err != errNoStreams {
				return err
			}
			continue
		}
		l, err := s.another(k.c)
		switch {
		case err != nil:
			return err
		case l == nil: // somebody else's, where there may be room
			continue
		}
		k.atHand()
		err = l.open(k)
		if s.isClosed() {
			l.retire()
		}
		return err
	}
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

func (s *h2links) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// another makes a connection, or waits for the one that is being made and
// returns nil.
func (s *h2links) another(c *Channel) (*h2link, error) {
	s.mu.Lock()
	if d := s.dialing; d != nil {
		s.mu.Unlock()
		<-d.done
		return nil, d.err
	}
	d := &h2dial{done: make(chan struct{})}
	s.dialing = d
	s.mu.Unlock()
	l, err := c.connectHTTP2(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.err = err; err == nil {
		list := slices.DeleteFunc(slices.Clone(s.all()), func(l *h2link) bool { return l.free.Load() == gone })
		list = append(list, l)
		s.list.Store(&list)
	}
	s.dialing = nil
	close(d.done)
	return l, err
}

// close lets all connections end when their exchanges have.
func (s *h2links) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
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
	defer context.AfterFunc(ctx, sock.Abort)()
	if err := l.await(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	return l, nil
}
