package forward

import (
	"errors"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
	"github.com/perchserver/perch/internal/sockio"
)

// upload sends a request body on a goroutine of its own, so that an
// application that answers before it has read everything cannot bring both
// sides to wait for each other.
//
// While it runs, the wait for a response has no limit: the application may be
// waiting for the body itself. The upload does not take for ever either, for
// the driver bounds the client's pauses and the write limit the application's.
type upload struct {
	flight  *flight
	state   uploadState
	done    chan struct{} // receives once when run ends
	err     error         // why the body was not sent whole; of run until done
	client  bool          // err is the client's
	scratch []byte        // a chunk with its framing
}

type uploadState uint8

const (
	noUpload   uploadState = iota // none needed, or ended
	heldUpload                    // the client waits to be asked
	running
)

// hold keeps the body back until start.
func (u *upload) hold() { u.state = heldUpload }

func (u *upload) start() {
	u.state = running
	u.flight.x.Detach()
	u.flight.link.sock.LimitRead(0)
	go u.run()
}

// run sends the body. When the application has it, or does not take it, it
// must answer in time. When the client fails, or the application does not move
// at all, nothing sensible can come any more, and the wait for it ends.
func (u *upload) run() {
	t := u.flight
	u.err = u.send()
	var refused *exchange.Error
	u.client = errors.As(u.err, &refused)
	if u.client || errors.Is(u.err, sockio.ErrLimit) {
		t.link.sock.Abort()
	}
	t.link.sock.LimitRead(t.c.set.RequestTimeout)
	u.done <- struct{}{}
}

func (u *upload) send() error {
	r, sock := &u.flight.x.Request, u.flight.link.sock
	if r.Length >= 0 {
		_, err := r.Body.WriteTo(sock)
		return err
	}
	if _, err := r.Body.WriteTo((*chunks)(u)); err != nil {
		return err
	}
	var trailer []exchange.Field
	for _, f := range r.Body.Trailer() {
		if !ours(&f) {
			trailer = append(trailer, f)
		}
	}
	_, err := sock.Write(http1.AppendLastChunk(u.scratch[:0], trailer))
	return err
}

// chunks is an upload as the destination of a body without a length.
type chunks upload

// chunkSize is the most data of one chunk that is sent on.
const chunkSize = bufferSize - 32

// Write frames p as chunks.
func (u *chunks) Write(p []byte) (total int, err error) {
	if u.scratch == nil {
		u.scratch = make([]byte, 0, bufferSize)
	}
	for len(p) > 0 {
		n := min(len(p), chunkSize)
		if _, err := u.flight.link.sock.Write(http1.AppendChunk(u.scratch[:0], p[:n])); err != nil {
			return total, err
		}
		total, p = total+n, p[n:]
	}
	return total, nil
}

// ended reports, without waiting, whether nothing more of a body will be sent.
func (u *upload) ended() bool {
	if u.state == running {
		select {
		case <-u.done:
			u.state = noUpload
		default:
		}
	}
	return u.state == noUpload
}

// uploadGrace is how long the rest of a body may take after the response has
// ended: an application that did not want it has it read away meanwhile.
const uploadGrace = 250 * time.Millisecond

// end waits for the upload. What does not come to an end soon, or is in vain
// because the exchange has failed, is broken off.
func (u *upload) end(failed error) {
	if u.state == heldUpload {
		u.state = noUpload
	}
	if u.ended() {
		return
	}
	if failed == nil {
		u.flight.x.Response.Writer.Flush()
		timer := time.NewTimer(uploadGrace)
		defer timer.Stop()
		select {
		case <-u.done:
			u.state = noUpload
			return
		case <-timer.C:
		}
	}
	u.flight.link.sock.Abort()
	u.flight.x.Request.Body.Interrupt()
	<-u.done
	u.state = noUpload
}

// brokenOff reports whether run has broken the connection off, and so is why
// the application cannot be heard. The client is known not to have gone.
func (u *upload) brokenOff() bool {
	if u.state != running || !u.flight.link.sock.Aborted() {
		return false
	}
	<-u.done // on its way
	u.state = noUpload
	return true
}
