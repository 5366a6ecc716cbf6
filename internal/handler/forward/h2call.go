package forward

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
	"github.com/perchserver/perch/internal/http2"
	"github.com/perchserver/perch/internal/sockio"
)

// call is one exchange with an application that speaks HTTP/2: what a flight
// is for HTTP/1.1. Calls are pooled. What the reader of its link shares with
// the exchange's own goroutine, and that of its upload, is under the lock of
// the link.
type call struct {
	http2.Stream
	c    *Channel
	x    *exchange.Exchange
	link *h2link // nil while there is none

	fields  requestFields
	request http2.RequestHead

	index   int           // in the link's list
	touched bool          // is in the link's other list
	wake    sync.Cond     // of the exchange: something has come
	window  sync.Cond     // of the upload: something may be sent
	since   time.Duration // of the wait for the application
	waits   bool          // the exchange waits for it

	// How long the application may take to send something, and to take
	// something. 0 is for ever.
	readLimit, writeLimit time.Duration

	broken error // why nothing more comes

	headed  bool // head is that of the final response
	head    http1.ResponseHead
	text    []byte    // what it points to
	interim []interim // heads that came before it
	informs int       // how many there have been
	buf     []byte    // of the response's body, not relayed yet
	spare   []byte    // empty, for what comes meanwhile
	trailer []exchange.Field

	upload   h2upload
	received bool // a response head, if only an interim one
}

// interim is a head with a status below 200.
type interim struct {
	status int
	header exchange.Header
}

// keptBuffer is the largest buffer that stays with a call.
const keptBuffer = 32 << 10

func newCall() *call {
	k := &call{}
	k.fields.list.Fields = make([]exchange.Field, 0, 32)
	k.head.Header.Fields = make([]exchange.Field, 0, 32)
	k.upload.done = make(chan struct{}, 1)
	return k
}

// release gives the memory back.
func (k *call) release() {
	f := k.c.f
	k.x.Response.Reason = nil
	k.x.Response.Header.Reset()
	k.fields.forget()
	k.forget()
	k.c, k.x, k.request = nil, nil, http2.RequestHead{}
	k.upload = h2upload{done: k.upload.done}
	f.calls.Put(k)
}

// forget makes the call ready for another attempt.
func (k *call) forget() {
	k.link, k.broken, k.since, k.waits = nil, nil, 0, false
	k.headed, k.received, k.informs = false, false, 0
	k.head.Header.Reset()
	k.interim, k.trailer = nil, nil
	k.buf, k.spare = kept(k.buf), kept(k.spare)
	k.upload.reset()
}

func kept(buf []byte) []byte {
	if cap(buf) > keptBuffer {
		return nil
	}
	return buf[:0]
}

// Why nothing more comes of a stream, besides the end of its connection.
var (
	errDropped   = errors.New("the application went away before it looked at the request")
	errNoStreams = errors.New("the application does not let any stream be opened")
	errAnswered  = errors.New("the exchange has ended")
)

// streamReset is the application's RST_STREAM.
type streamReset struct{ code http2.Code }

func (e streamReset) Error() string {
	return fmt.Sprintf("the application reset the stream (HTTP/2 error code %d)", e.code)
}

// malformed is what is wrong with what the application sent on a stream.
type malformed string

func (e malformed) Error() string { return "malformed response: " + string(e) }

// refused reports whether the application is known not to have looked at the
// request (RFC 9113 section 8.7).
func refused(err error) bool {
	var reset streamReset
	return err == errDropped || errors.As(err, &reset) && reset.code == http2.RefusedStream
}

// take takes what a frame has brought. The lock is held.
func (k *call) take(ev *http2.Event) {
	k.since = k.link.f.watch.Clock()
	switch ev.Kind {
	case http2.Room:
		k.window.Broadcast()
		return
	case http2.Response:
		k.takeHead()
	case http2.Body:
		k.buf = append(k.buf, ev.Data...)
		k.trailer = cloneTrailer(k.trailer, ev.Trailer)
	case http2.Broken:
		if ev.Why != "" {
			k.lose(malformed(ev.Why))
		} else {
			k.lose(streamReset{ev.Code})
		}
	}
	k.link.touch(k)
}

// takeHead takes a response head. The lock is held.
func (k *call) takeHead() {
	k.received = true
	k.text = k.link.h2.Response(&k.head, k.text)
	if k.head.Status >= 200 {
		k.headed = true
		return
	}
	if k.informs++; k.informs > maxInterim {
		k.breakOff(errInterim, http2.EnhanceYourCalm)
		return
	}
	k.interim = append(k.interim, interim{k.head.Status, k.head.Header})
	k.head.Header.Fields, k.text = nil, nil // they stay with it
}

// lose notes that nothing more comes. The lock is held.
func (k *call) lose(why error) {
	if k.broken == nil {
		k.broken = why
		k.link.touch(k)
		k.window.Broadcast()
		k.link.out.Room.Broadcast() // it may be among those
	}
}

// breakOff resets the stream. The lock is held.
func (k *call) breakOff(why error, code http2.Code) {
	k.link.h2.Reset(&k.Stream, code)
	k.lose(why)
	k.wake.Broadcast()
}

// Abort implements exchange.Aborter: the client has gone.
func (k *call) Abort() {
	l := k.link
	l.mu.Lock()
	defer l.mu.Unlock()
	k.breakOff(sockio.ErrAborted, http2.Cancel)
	l.out.FlushAside()
}

// look ends what takes too long. The lock is held.
func (k *call) look(now time.Duration) {
	limit, waited := k.readLimit, now-k.since
	u := &k.upload
	switch {
	case u.waits && k.writeLimit > 0 && now-u.since >= k.writeLimit:
		k.breakOff(sockio.ErrLimit, http2.Cancel) // it does not take what it is sent
	case !k.waits || u.state == running:
	case u.state == heldUpload && waited >= continueTime:
		u.state = asked // it did not ask, and does not seem to know how
		k.wake.Broadcast()
	case limit > 0 && waited >= limit:
		k.breakOff(sockio.ErrLimit, http2.Cancel)
	}
}

// pause waits for the application. The lock is held, but not meanwhile.
func (k *call) pause() {
	if !k.waits {
		k.waits, k.since = true, k.link.f.watch.Clock()
	}
	k.wake.Wait()
}

// next waits for a head and returns an interim one, or nil if it is the final
// one. An error is why there is none.
func (k *call) next() (*interim, error) {
	l := k.link
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case len(k.interim) > 0:
			first := k.interim[0]
			k.interim = k.interim[1:]
			return &first, nil
		case k.headed:
			k.waits = false
			return nil, nil
		case k.broken != nil:
			return nil, k.broken
		case k.upload.state == asked:
			k.startUpload()
		}
		k.pause()
	}
}

// chunk returns what has come of the body, nil if there is nothing now. The
// one before has been relayed. At the end there is an error: io.EOF or why it
// came too early.
func (k *call) chunk(before []byte, wait bool) ([]byte, error) {
	l := k.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(before) > 0 {
		l.h2.Taken(&k.Stream, len(before))
		k.spare = before[:0]
		l.flush()
	}
	for {
		switch {
		case len(k.buf) > 0:
			data := k.buf
			k.buf, k.spare = k.spare[:0], nil
			k.waits = false
			if k.Ended() {
				return data, io.EOF
			}
			return data, nil
		case k.Ended():
			return nil, io.EOF
		case k.broken != nil:
			return nil, k.broken
		case !wait:
			return nil, nil
		}
		k.pause()
	}
}
