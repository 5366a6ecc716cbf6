package forward

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/sockio"
)

// link is one connection to the application.
type link struct {
	sock  *sockio.Conn
	since time.Time     // idle from then on
	keep  time.Duration // how long the application keeps it when idle

	_ [24]byte // a line of the cache for each
}

const (
	// idleLink is how long a connection is kept when the application does
	// not say how long it keeps it. Kestrel closes after 130 s.
	idleLink = 100 * time.Second

	// freshLink is how long a connection may have been idle to carry a
	// request that must not be sent twice: an application that closes it at
	// that moment would lose the request (Node closes after 5 s).
	freshLink = time.Second

	// connectTime bounds a connect on this machine.
	connectTime = 10 * time.Second
)

// links are the idle connections of a channel, the last used on top: those
// below grow old and are closed when the load goes down.
type links struct {
	mu    sync.Mutex
	stack []*link

	_ [32]byte // a line of the cache for each
}

// take returns a connection, idle or new. Only a request that may be sent
// twice goes on one that was idle for long.
func (c *Channel) take(x *exchange.Exchange) (*link, error) {
	task, _ := x.Task.(*sockio.Task)
	now := c.f.watch.Now()
	var oldest time.Time
	if !x.Request.Idempotent() {
		oldest = now.Add(-freshLink)
	}
	for {
		l := c.idle[task.Loop()].pop(oldest)
		if l == nil {
			return c.connect(x, task)
		}
		l.sock.UseTask(task)
		if now.Sub(l.since) < l.keep && l.sock.Quiet(x.Request.Idempotent()) {
			return l, nil
		}
		l.sock.Close()
	}
}

// connectLimit bounds a connect.
func (c *Channel) connectLimit() time.Duration {
	if t := c.set.RequestTimeout; t > 0 {
		return min(connectTime, t)
	}
	return connectTime
}

func (c *Channel) connect(x *exchange.Exchange, task *sockio.Task) (*link, error) {
	sock, err := c.socket(x, task)
	if err != nil {
		return nil, err
	}
	sock.LimitWrite(c.set.RequestTimeout)
	return &link{sock: sock}, nil
}

// socket connects. An application that accepts nothing may take all the time that
// there is: a client that goes meanwhile ends the wait.
func (c *Channel) socket(x *exchange.Exchange, task *sockio.Task) (*sockio.Conn, error) {
	if c.set.Dial == nil {
		d, err := c.f.watch.Dial(task, c.set.Address)
		if err != nil {
			return nil, err
		}
		x.WhenGone(d)
		sock, err := d.Wait(c.connectLimit())
		if err != nil {
			x.WhenGone(nil)
		}
		return sock, err
	}
	task.Detach()
	ctx, cancel := context.WithTimeout(context.Background(), c.connectLimit())
	defer cancel()
	nc, err := c.set.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return c.f.watch.AdoptFor(task, nc, nil), nil
}

// dial connects for what is no exchange over HTTP/1.1.
func (c *Channel) dial(ctx context.Context) (net.Conn, error) {
	if c.set.Dial != nil {
		return c.set.Dial(ctx)
	}
	d := net.Dialer{KeepAlive: -1, Control: sockio.PrepareLocal} // a peer on this machine cannot vanish
	return d.DialContext(ctx, "tcp", c.set.Address.String())
}

// put keeps a connection whose exchange has ended cleanly. seconds is what the
// application has promised to keep it for, 0 if it has said nothing: it is
// believed less one second, for a request that is on its way.
func (c *Channel) put(l *link, seconds int) {
	l.keep = idleLink
	if seconds > 0 {
		l.keep = min(idleLink, time.Duration(seconds-1)*time.Second)
	}
	if !l.sock.Unlimit() || l.keep <= 0 {
		l.sock.Close()
		return
	}
	l.since = c.f.watch.Now()
	c.idle[l.sock.Task().Loop()].push(l)
	if c.shut.Load() {
		c.drop()
	}
}

// pop returns the connection that was used last, unless it has been idle since
// before oldest.
func (s *links) pop(oldest time.Time) *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.stack)
	if n == 0 || s.stack[n-1].since.Before(oldest) {
		return nil
	}
	l := s.stack[n-1]
	s.stack[n-1] = nil
	s.stack = s.stack[:n-1]
	return l
}

func (s *links) push(l *link) {
	s.mu.Lock()
	s.stack = append(s.stack, l)
	s.mu.Unlock()
}

// drop closes all.
func (s *links) drop() {
	s.mu.Lock()
	all := s.stack
	s.stack = nil
	s.mu.Unlock()
	for _, l := range all {
		l.sock.Close()
	}
}

// prune closes what the application has closed or is about to.
func (s *links) prune(now time.Time) {
	s.mu.Lock()
	var dead []*link
	keep := s.stack[:0]
	for _, l := range s.stack {
		if idle := now.Sub(l.since); idle >= l.keep || idle > freshLink && !l.sock.Quiet(true) {
			dead = append(dead, l)
		} else {
			keep = append(keep, l)
		}
	}
	clear(s.stack[len(keep):])
	s.stack = keep
	s.mu.Unlock()
	for _, l := range dead {
		l.sock.Close()
	}
}
