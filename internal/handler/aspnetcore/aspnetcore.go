// Package aspnetcore is the handler of the ASP.NET Core Module, and of
// HttpPlatformHandler, out of process: it borrows a worker of the
// application's pool, starting one if there is none, and lets it answer. An
// exchange whose worker died under it is served once more where that does no
// harm.
//
// It declares what it needs of a worker itself; internal/plan joins it to
// internal/worker.
package aspnetcore

import (
	"context"
	"time"

	"github.com/perchserver/perch/internal/exchange"
)

// Worker is a running application that was borrowed from its pool.
type Worker interface {
	// Serve lets the application answer x. Its error is an *exchange.Error
	// that says whether x may be served again.
	Serve(x *exchange.Exchange) error

	// Gone is closed when the process has ended.
	Gone() <-chan struct{}

	// Release gives the worker back. It is called once.
	Release()
}

// Settings of one application.
type Settings struct {
	// Acquire borrows a worker, waiting for it to start if it must. Its
	// errors are *exchange.Error. ctx ends when the client goes.
	Acquire func(ctx context.Context) (Worker, error)
}

// Handler returns the handler. It is safe for concurrent use.
func Handler(set Settings) exchange.Handler {
	return exchange.HandlerFunc(func(x *exchange.Exchange) error {
		for n, sent := 1, false; ; n++ {
			err := serve(&set, x)
			if err == nil || x.Response.Started {
				return err
			}
			e := exchange.AsError(err)
			if !e.Resend || sent && !e.Unsent || n == attempts {
				return err
			}
			sent = sent || !e.Unsent
		}
	})
}

// attempts is how often an exchange is served at most: once, once more, and
// once again where it did not reach the application one of these times. A dead
// worker refuses a connection, and only by that may its death become known.
const attempts = 3

// deathNotice is how long a failed exchange waits to learn whether its worker
// has died: the broken connection may arrive before the news of the death,
// and a second attempt with the same dead worker would be in vain.
const deathNotice = 250 * time.Millisecond

// serve borrows a worker and lets it answer. Where x may be served again, it
// returns when that makes sense.
func serve(set *Settings, x *exchange.Exchange) error {
	w, err := set.Acquire((*client)(x))
	if err != nil {
		x.WhenGone(nil)
		return err
	}
	defer w.Release()
	err = w.Serve(x)
	if err == nil || x.Response.Started || !exchange.AsError(err).Resend {
		return err
	}
	x.Detach()
	timer := time.NewTimer(deathNotice)
	defer timer.Stop()
	select {
	case <-w.Gone():
	case <-timer.C:
	}
	return err
}

// client is an exchange seen as a context that ends when its client goes.
// Only a wait asks for Done, so that a request to a ready worker costs
// nothing.
type client exchange.Exchange

// Deadline reports that there is none.
func (*client) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done returns a channel that is closed when the client goes.
func (c *client) Done() <-chan struct{} {
	gone := make(closer)
	(*exchange.Exchange)(c).Detach()
	(*exchange.Exchange)(c).WhenGone(gone)
	return gone
}

// Err returns context.Canceled once the client has gone.
func (c *client) Err() error {
	if (*exchange.Exchange)(c).Gone() {
		return context.Canceled
	}
	return nil
}

// Value returns nil.
func (*client) Value(any) any { return nil }

// closer is a channel that Abort closes.
type closer chan struct{}

// Abort implements exchange.Aborter. It may be called more than once, always
// under the lock of the exchange.
func (c closer) Abort() {
	select {
	case <-c:
	default:
		close(c)
	}
}
