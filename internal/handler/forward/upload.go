package forward

import (
	"errors"
	"io"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
	"github.com/perchserver/perch/internal/sockio"
)

// upload sends a request body on a goroutine of its own, so that an
// application that answers before it has read everything cannot bring both
// sides to wait for each other.
type upload struct {
	flight  *flight
	state   uploadState
	done    chan struct{} // receives once when run ends
	err     error         // of run; read after done
	client  bool          // err is the client's
	scratch []byte        // framing of chunks
}

type uploadState uint8

const (
	noUpload uploadState = iota // none needed, or ended
	heldUpload
	running
)

// hold keeps the body back until start.
func (u *upload) hold() { u.state = heldUpload }

func (u *upload) start() {
	u.state, u.err, u.client = running, nil, false
	go u.run()
}

// run sends the body. If the client fails, nothing sensible can come from the
// application any more, and the wait for it ends.
func (u *upload) run() {
	t := u.flight
	body := t.x.Request.Body
	var err error
	if t.x.Request.Length < 0 {
		_, err = body.WriteTo(u)
		if err == nil {
			u.scratch = http1.AppendLastChunk(u.scratch[:0], body.Trailer())
			_, err = t.link.sock.Write(u.scratch)
		}
	} else {
		_, err = body.WriteTo(t.link.sock)
	}
	u.err = err
	var refused *exchange.Error
	if errors.As(err, &refused) {
		u.client = true
		t.link.sock.Abort()
	}
	u.done <- struct{}{}
}

// Write frames p as one chunk: upload is the destination of a chunked body.
func (u *upload) Write(p []byte) (int, error) {
	sock := u.flight.link.sock
	if len(p) == 0 {
		return 0, nil
	}
	sock.Extend()
	u.scratch = http1.AppendChunk(u.scratch[:0], p)
	if _, err := sock.Write(u.scratch); err != nil {
		return 0, err
	}
	return len(p), nil
}

// uploadGrace is how long the rest of a body may take after the response has
// ended: an application that did not want it has it read away meanwhile.
const uploadGrace = 250 * time.Millisecond

// end waits for the upload, and breaks it off if the response is over and it
// does not come to an end. It reports whether all of the body was sent.
func (u *upload) end() bool {
	switch u.state {
	case heldUpload:
		u.state = noUpload
		return false
	case noUpload:
		return u.flight.x.Request.Body.Sent()
	}
	select {
	case <-u.done:
	default:
		u.flight.x.Response.Writer.Flush()
		timer := time.NewTimer(uploadGrace)
		defer timer.Stop()
		select {
		case <-u.done:
		case <-timer.C:
			u.flight.link.sock.Abort()
			u.flight.x.Request.Body.Interrupt()
			<-u.done
		}
	}
	u.state = noUpload
	return u.err == nil
}

// failed returns the client's failure if that is why the application cannot
// be heard. It waits for the upload to have ended if the client was at fault.
func (u *upload) failed() error {
	if u.state != running || !u.flight.link.sock.Aborted() {
		return nil
	}
	<-u.done
	u.done <- struct{}{} // for end
	if u.client {
		return u.err
	}
	return nil
}

var _ io.Writer = (*upload)(nil)
var _ exchange.Aborter = (*sockio.Conn)(nil)
