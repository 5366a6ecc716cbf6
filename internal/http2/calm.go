package http2

import "time"

// calm is the patience with one client. Frames that cost us work and bring
// nobody anything are paid from an account that fills with time and with
// honest work; whoever overdraws it is sent away with ENHANCE_YOUR_CALM. One
// account for everything: a flood does not become lawful by being mixed.
type calm struct {
	left   int
	most   int   // and what a connection begins with
	second int   // paid in each second
	at     int64 // when time was last added, in nanoseconds
}

// What is paid into the account besides.
const (
	calmServed = 20 // a request that was answered to its end
	calmSent   = 2  // a DATA frame of ours: receivers open windows and ping for each
	calmGot    = 1  // a DATA frame with a body in it
)

// The prices. A browser that leaves a page resets what it had asked for: with
// the defaults, 1000 and 50 in a second, a hundred streams at once are taken,
// and then five in a second besides two for each request that it lets us
// answer.
const (
	priceReset    = 10 // RST_STREAM, or a stream that the client broke
	priceSettings = 10
	pricePing     = 2 // and the answer to one that we did not send
	priceBlock    = 5 // CONTINUATION, or a header block that nobody looks at
	priceFrame    = 1 // PRIORITY, WINDOW_UPDATE, DATA with next to nothing, unknown types
)

// tinyData is the size up to which a DATA frame that does not end its stream
// costs more than it brings. The smallest messages of the protocols that send
// small ones are larger: 5 bytes of gRPC, 6 of WebSockets.
const tinyData = 4

// maxContinuation is how many CONTINUATION frames one header block may have,
// whatever is in them: what the limits allow for fits in far fewer.
const maxContinuation = 16

// maxSettings is how many settings one frame may hold. Six have a meaning.
const maxSettings = 64

func (c *calm) earn(n int) { c.left = min(c.left+n, c.most) }

// pay takes n off and reports whether there was enough.
func (c *calm) pay(n int, now int64) bool {
	if c.left -= n; c.left >= 0 {
		return true
	}
	seconds := (now - c.at) / int64(time.Second)
	if seconds > 0 {
		c.at = now
		c.left = int(min(int64(c.left)+seconds*int64(c.second), int64(c.most)))
	}
	return c.left >= 0
}
