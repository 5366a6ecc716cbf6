package forward

import (
	"errors"
	"io"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http2"
)

// asked is the state of an upload that was held back and may begin.
const asked uploadState = running + 1

// h2upload sends the body of a request, as far as it was not at hand, on a
// goroutine of its own. What upload says of time holds for it too. Its state
// is under the lock of the link.
type h2upload struct {
	state  uploadState
	ran    bool          // done has something to receive, or will have
	done   chan struct{} // receives once when it has ended
	whole  bool          // body is all of it
	body   []byte
	rest   []byte        // what of that is not sent yet
	waits  bool          // for the application to take some
	since  time.Duration // of that
	err    error         // why the body was not sent whole
	client bool          // err is the client's

	consumed bool // a part of the client's body is gone, and not in body
}

func (u *h2upload) reset() {
	*u = h2upload{done: u.done, whole: u.whole, body: u.body, consumed: u.consumed}
}

// sendNow sends what is at hand of a body, as far as the windows allow for it,
// and leaves the rest to an upload. The lock is held.
func (k *call) sendNow() {
	u := &k.upload
	u.rest = u.body
	for len(u.rest) > 0 {
		n, _ := k.link.h2.Sendable(&k.Stream)
		if n = min(n, len(u.rest)); n == 0 {
			break
		}
		k.link.h2.Data(&k.Stream, u.rest[:n], n == len(u.rest))
		u.rest = u.rest[n:]
	}
	switch {
	case k.request.End, k.request.Protocol != nil, len(u.body) > 0 && len(u.rest) == 0:
	case u.whole && len(u.body) == 0:
		k.link.h2.Data(&k.Stream, nil, true)
	case !u.whole && k.holds():
		u.state = heldUpload
	default:
		k.startUpload()
	}
}

// holds reports whether the client waits to be asked for its body.
func (k *call) holds() bool {
	r := &k.x.Request
	return r.HasBody() && r.Proto >= exchange.HTTP11 && exchange.EqualFold(r.Header.Get(exchange.Expect), "100-continue")
}

// startUpload lets the body go. The lock is held.
func (k *call) startUpload() {
	k.upload.state, k.upload.ran = running, true
	k.upload.consumed = k.upload.consumed || !k.upload.whole
	go k.sendBody()
}

// sendBody is the upload. When it ends, the application has to answer in time,
// unless the client has failed: then nothing sensible can come any more.
func (k *call) sendBody() {
	err := k.copyBody()
	l, u := k.link, &k.upload
	l.mu.Lock()
	u.err = err
	var fault *exchange.Error
	if u.client = errors.As(err, &fault); u.client {
		k.breakOff(err, http2.Cancel)
	}
	l.flush()
	k.since = l.f.watch.Clock()
	u.state = noUpload
	l.mu.Unlock()
	u.done <- struct{}{}
}

func (k *call) copyBody() error {
	u, body := &k.upload, k.x.Request.Body
	if u.whole {
		return k.send(u.rest, true)
	}
	buf := k.c.f.chunks.Get().(*[bufferSize]byte)
	defer k.c.f.chunks.Put(buf)
	for {
		n, err := body.Read(buf[:])
		if n > 0 {
			end := body.Sent() && len(body.Trailer()) == 0
			if err := k.send(buf[:n], end); err != nil || end {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return k.sendTrailer(body.Trailer())
		case err != nil:
			return err
		}
	}
}

// send makes DATA frames of p, waiting for the application's windows.
func (k *call) send(p []byte, end bool) error {
	l := k.link
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(p) > 0 {
		n, err := k.reserve(len(p))
		if err != nil {
			return err
		}
		l.h2.Data(&k.Stream, p[:n], end && n == len(p))
		p = p[n:]
	}
	l.flush()
	return nil
}

// reserve waits until n bytes, or some of them, may be sent. The lock is held,
// but not meanwhile.
func (k *call) reserve(n int) (int, error) {
	l, u := k.link, &k.upload
	defer func() { u.waits = false }()
	for {
		if k.broken != nil {
			return 0, k.broken
		}
		if l.out.Dead != nil {
			return 0, l.out.Dead
		}
		may, ofStream := l.h2.Sendable(&k.Stream)
		switch {
		case may > 0 && !l.out.Full():
			return min(n, may), nil
		case may > 0 && !l.out.Sending():
			l.flush()
			continue
		case ofStream:
			l.out.Room.Signal() // in case we were given a turn that we cannot use
		}
		if l.h2.Pending() > 0 && !l.out.Sending() {
			l.flush()
			continue
		}
		if !u.waits {
			u.waits, u.since = true, l.f.watch.Clock()
		}
		if ofStream {
			k.window.Wait()
		} else {
			l.out.Room.Wait()
		}
	}
}

// sendTrailer ends the body, with fields behind it if there are any.
func (k *call) sendTrailer(trailer []exchange.Field) error {
	var pass []exchange.Field
	for _, f := range trailer {
		if !ours(&f) {
			pass = append(pass, f)
		}
	}
	l := k.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.broken != nil {
		return k.broken
	}
	l.h2.WriteTrailer(&k.Stream, pass)
	l.flush()
	return nil
}

// endUpload ends what goes on of the upload: nobody wants it any more.
func (k *call) endUpload() {
	l, u := k.link, &k.upload
	l.mu.Lock()
	going := u.state == running
	if going {
		k.breakOff(errAnswered, http2.Cancel)
		l.out.FlushAside()
	}
	u.state = noUpload
	l.mu.Unlock()
	if going && !u.whole {
		k.x.Request.Body.Interrupt()
	}
	if u.ran {
		<-u.done
		u.ran = false
	}
}
