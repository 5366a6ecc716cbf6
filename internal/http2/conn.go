package http2

import (
	"errors"
	"io"
	"math"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/perchserver/perch/internal/exchange"
)

// Conn is one end of a connection: the server's of NewConn, the client's of
// NewClient. Next is for one goroutine and may run beside the other methods;
// all others are called by one goroutine at a time, under a lock of the driver.
type Conn struct {
	lim    Limits
	client bool
	fr     *http2.Framer // nil at rest
	dec    *hpack.Decoder
	enc    encoder

	read   http2.Frame // what Next has found, until Take
	broken error       // or why it is none

	out     []byte // frames that have to be sent
	streams map[uint32]*Stream
	last    uint32 // the highest number that the client has used, who may be we
	open    int    // streams that are not closed
	held    int    // streams that a driver works for, closed or not
	past    past
	calm    calm
	block   block

	send     int32 // what may still be sent on all streams together
	receive  int32 // what the peer may still send
	returned int32 // taken, and not yet given back
	first    int32 // what a new stream may send

	settled bool   // the peer's first frame has come
	pinged  bool   // by us, and not answered yet
	leaving bool   // GOAWAY was sent, or has come from a server
	final   uint32 // streams beyond it are not served any more

	// What a server allows for.
	most    uint32 // streams at once
	connect bool   // an extended CONNECT
}

// NewConn returns the state of a connection on which nothing but the preface
// has been read, with the first frames of the server ready to be sent. now is
// in nanoseconds, of any clock that goes forward.
func NewConn(lim Limits, now int64) *Conn {
	c := newConn(lim, now)
	c.fr.WriteSettings(
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(lim.Streams)},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(lim.StreamWindow)},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: lim.listSize()},
		http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1}, // RFC 8441
		http2.Setting{ID: http2.SettingNoRFC7540Priorities, Val: 1},   // RFC 9218 section 2.1
	)
	if more := lim.ConnWindow - initialWindow; more > 0 {
		c.fr.WriteWindowUpdate(0, uint32(more))
	}
	return c
}

func newConn(lim Limits, now int64) *Conn {
	c := &Conn{
		lim:     lim,
		streams: make(map[uint32]*Stream),
		send:    initialWindow,
		first:   initialWindow,
		receive: lim.ConnWindow,
		past:    past{entries: make([]uint32, max(leastPast, lim.Streams))},
		calm:    calm{left: lim.Calm, most: lim.Calm, second: lim.CalmSecond, at: now},
		final:   maxWindow,
		most:    math.MaxUint32,
	}
	c.block.lim = &c.lim
	c.dec = hpack.NewDecoder(tableSize, c.block.emit)
	c.dec.SetMaxStringLength(2 * lim.Head.Fields)
	c.enc.init()
	c.Wake(nil)
	return c
}

// sink is where the Framer writes: into memory.
type sink Conn

func (s *sink) Write(p []byte) (int, error) {
	s.out = append(s.out, p...)
	return len(p), nil
}

// Wake makes the connection ready for work, reading from r.
func (c *Conn) Wake(r io.Reader) {
	c.fr = http2.NewFramer((*sink)(c), r)
	c.fr.SetMaxReadFrameSize(frameSize)
	c.fr.SetReuseFrames()
}

// Rest gives up the memory that only a connection at work needs. There must
// be no stream, nothing half read and nothing to send.
func (c *Conn) Rest() {
	c.fr, c.read, c.out = nil, nil, nil
	c.block.fields, c.block.text = nil, nil
	c.enc.rest()
}

// Out takes what has to be sent and leaves the connection an empty buffer to
// gather more in.
func (c *Conn) Out(empty []byte) []byte {
	out := c.out
	c.out = empty[:0]
	return out
}

// Pending is how many bytes have to be sent.
func (c *Conn) Pending() int { return len(c.out) }

// Streams is how many streams are open or still worked for.
func (c *Conn) Streams() int { return max(c.held, c.open) }

// Next reads one frame. Its error is that of the reader: what is wrong with
// the frame itself is found by Take.
func (c *Conn) Next() error {
	c.read, c.broken = nil, nil
	h, err := c.fr.ReadFrameHeader()
	if err == nil {
		if short(&h) {
			c.broken = fail(FrameSizeError, "%v frame too short for its flags", h.Type)
			return nil
		}
		c.read, err = c.fr.ReadFrameForHeader(h)
	}
	switch e := err.(type) {
	case nil:
		return nil
	case http2.ConnectionError:
		text := "malformed " + h.Type.String() + " frame"
		if detail := c.fr.ErrorDetail(); detail != nil {
			text = detail.Error()
		}
		c.broken = fail(Code(e), "%s", text)
		return nil
	case http2.StreamError:
		c.broken = err
		if h.Type != http2.FrameWindowUpdate { // a header block that is left out confuses HPACK
			c.broken = fail(Code(e.Code), "malformed %v frame", h.Type)
		}
		return nil
	}
	if errors.Is(err, http2.ErrFrameTooLarge) {
		c.broken = fail(FrameSizeError, "frame of %d bytes", h.Length)
		return nil
	}
	return err
}

// short reports whether a frame has no room for what its flags announce.
func short(h *http2.FrameHeader) bool {
	least := uint32(0)
	switch h.Type {
	case http2.FrameData, http2.FrameHeaders:
		if h.Flags.Has(http2.FlagDataPadded) {
			least++
		}
		if h.Type == http2.FrameHeaders && h.Flags.Has(http2.FlagHeadersPriority) {
			least += 5
		}
	case http2.FrameGoAway:
		least = 8
	}
	return h.Length < least
}

// Kind is what a frame has brought.
type Kind uint8

// The kinds.
const (
	Nothing  Kind = iota
	Request       // a request that is to be accepted, with Accept
	Response      // a response head, final or interim, that is to be taken, with Response
	Body          // Data, Trailer or the end of a stream
	Broken        // a stream was reset, by the peer or for what it did
	Room          // more may be sent on Stream, or on all if it is nil
	Settings      // new settings: more may be sent on all, or opened
	Pong          // the answer to Ping
	Away          // the server opens no more streams, and has Dropped some
)

// Event is what a frame has brought. What it points to is valid until the
// next frame is read.
type Event struct {
	Kind    Kind
	Stream  *Stream
	Data    []byte
	Trailer []exchange.Field
	Why     string // of Broken and of a request that was refused: what was wrong, if it was
	Code    Code   // of Broken
}

// Take applies the frame that Next has read. An error, which is an *Error,
// ends the connection: GoAway says so to the peer.
func (c *Conn) Take(now int64) (ev Event, err error) {
	if c.broken != nil {
		var se http2.StreamError
		if !errors.As(c.broken, &se) {
			return Event{}, c.broken
		}
		return c.misused(se.StreamID, Code(se.Code), now)
	}
	if _, ok := c.read.(*http2.SettingsFrame); !ok && !c.settled {
		return Event{}, fail(ProtocolError, "the first frame is not SETTINGS")
	}
	switch f := c.read.(type) {
	case *http2.DataFrame:
		return c.data(f, now)
	case *http2.HeadersFrame:
		return c.headers(f, now)
	case *http2.ContinuationFrame:
		return c.continuation(f, now)
	case *http2.WindowUpdateFrame:
		return c.window(f, now)
	case *http2.RSTStreamFrame:
		return c.rst(f, now)
	case *http2.SettingsFrame:
		return c.settings(f, now)
	case *http2.PingFrame:
		return c.ping(f, now)
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			return c.misused(f.StreamID, ProtocolError, now)
		}
	case *http2.PushPromiseFrame:
		return Event{}, fail(ProtocolError, "PUSH_PROMISE, which nobody may send here")
	case *http2.GoAwayFrame:
		if c.client {
			return c.away(f, now)
		} // a client that will open no more streams
	}
	return Event{}, c.charge(priceFrame, now)
}

// charge takes the price of a frame off the peer's account.
func (c *Conn) charge(price int, now int64) error {
	if !c.calm.pay(price, now) {
		return fail(EnhanceYourCalm, "too many frames that ask for nothing")
	}
	return nil
}

// misused answers a frame that is wrong for its stream.
func (c *Conn) misused(id uint32, code Code, now int64) (Event, error) {
	if c.idle(id) || id == 0 {
		return Event{}, fail(code, "frame for stream %d, which is idle", id)
	}
	if s := c.streams[id]; s != nil {
		return c.breakOff(s, code, now, "frame against the rules")
	}
	return Event{}, c.charge(priceReset, now)
}

// idle reports whether a stream was never opened.
func (c *Conn) idle(id uint32) bool { return id > c.last || c.client && id%2 == 0 }

// breakOff resets a stream for what the peer did.
func (c *Conn) breakOff(s *Stream, code Code, now int64, why string) (Event, error) {
	c.Reset(s, code)
	return Event{Kind: Broken, Stream: s, Why: why, Code: code}, c.charge(priceReset, now)
}

// rst takes a stream that the peer has reset. A server does that once for a
// stream that we opened: it has its price already.
func (c *Conn) rst(f *http2.RSTStreamFrame, now int64) (Event, error) {
	if c.idle(f.StreamID) {
		return Event{}, fail(ProtocolError, "RST_STREAM for stream %d, which is idle", f.StreamID)
	}
	s := c.streams[f.StreamID]
	if s == nil {
		return Event{}, c.charge(priceFrame, now)
	}
	s.reset = true
	c.drop(s, false)
	ev := Event{Kind: Broken, Stream: s, Code: Code(f.ErrCode)}
	if c.client {
		return ev, nil
	}
	return ev, c.charge(priceReset, now)
}

// settings takes the peer's settings over (section 6.5.2).
func (c *Conn) settings(f *http2.SettingsFrame, now int64) (Event, error) {
	c.settled = true
	if f.IsAck() {
		return Event{}, c.charge(priceFrame, now)
	}
	if f.NumSettings() > maxSettings {
		return Event{}, fail(EnhanceYourCalm, "%d settings in one frame", f.NumSettings())
	}
	for i := range f.NumSettings() {
		s := f.Setting(i)
		if err := s.Valid(); err != nil {
			code := ProtocolError
			if ce, ok := err.(http2.ConnectionError); ok {
				code = Code(ce)
			}
			return Event{}, fail(code, "setting %v of %d", s.ID, s.Val)
		}
		switch s.ID {
		case http2.SettingHeaderTableSize:
			c.enc.limit(s.Val)
		case http2.SettingInitialWindowSize:
			if err := c.setFirst(int32(s.Val)); err != nil {
				return Event{}, err
			}
		default:
			if err := c.allowed(s); err != nil {
				return Event{}, err
			}
		}
	}
	c.fr.WriteSettingsAck()
	return Event{Kind: Settings}, c.charge(priceSettings, now)
}

// ping answers, or notes the answer to ours.
func (c *Conn) ping(f *http2.PingFrame, now int64) (Event, error) {
	if f.IsAck() {
		if c.pinged && f.Data == pingData {
			c.pinged = false
			return Event{Kind: Pong}, nil
		}
		return Event{}, c.charge(pricePing, now)
	}
	c.fr.WritePing(true, f.Data)
	return Event{}, c.charge(pricePing, now)
}

// pingData tells the answer to our ping. Never written.
var pingData = [8]byte{'p', 'e', 'r', 'c', 'h'}

// Ping asks the peer for a sign that it has read what was sent before.
func (c *Conn) Ping() {
	c.pinged = true
	c.fr.WritePing(false, pingData)
}

// Leave tells the client to open no more streams here, without an end to
// those it has opened meanwhile (section 6.8).
func (c *Conn) Leave() {
	c.leaving = true
	c.fr.WriteGoAway(maxWindow, http2.ErrCodeNo, nil)
}

// LastCall is the second half of Leave: what comes after it is not served,
// and may be sent elsewhere without harm.
func (c *Conn) LastCall() {
	c.final = c.last
	c.fr.WriteGoAway(c.last, http2.ErrCodeNo, nil)
}

// GoAway says why the connection ends.
func (c *Conn) GoAway(e *Error) {
	last := c.last
	if c.client {
		last = 0 // a server opens none
	}
	c.fr.WriteGoAway(last, http2.ErrCode(e.Code), []byte(e.Text))
}

// Between reports whether the next byte begins a frame that belongs to
// nothing before it: there is no header block in the middle.
func (c *Conn) Between() bool { return c.block.use == unused }

// Settled reports whether the peer's first SETTINGS have come.
func (c *Conn) Settled() bool { return c.settled }

// Reset breaks a stream off. One that has closed already stays as it is.
func (c *Conn) Reset(s *Stream, code Code) {
	if s.reset || s.ours && s.theirs {
		return
	}
	s.reset = true
	c.fr.WriteRSTStream(s.id, http2.ErrCode(code))
	c.drop(s, true)
}

// Release says that the driver has done with a stream. What is open of it is
// ended: if the response is whole, the rest of the request is not wanted.
func (c *Conn) Release(s *Stream) {
	switch {
	case c.client:
		c.Reset(s, Cancel)
	case s.ours:
		c.Reset(s, NoError)
	default:
		c.Reset(s, InternalError)
	}
	if s.held {
		s.held = false
		c.held--
	}
	s.owner = nil
}

// drop takes a closed stream out.
func (c *Conn) drop(s *Stream, byUs bool) {
	delete(c.streams, s.id)
	c.open--
	c.past.add(s.id, byUs)
}

// close is called when one side has ended a stream.
func (c *Conn) close(s *Stream) {
	if s.ours && s.theirs {
		c.drop(s, false)
		c.calm.earn(calmServed)
	}
}
