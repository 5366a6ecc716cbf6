package http1

import (
	"bytes"

	"github.com/perchserver/perch/internal/exchange"
)

// maxChunkLine bounds a chunk's size line: no known sender uses extensions,
// and none may be used to hide a request behind them.
const maxChunkLine = 4096

// Chunked decodes a chunked body (RFC 9112 section 7.1) that passes through a
// buffer. The zero value is at the start of a body.
type Chunked struct {
	left  uint64 // of the current chunk's data
	state chunkState
	scan  Scanner
}

type chunkState uint8

const (
	chunkSize chunkState = iota // before a size line
	chunkData
	chunkEnd // before the CRLF behind data
	chunkTrailer
	chunkDone
)

// Reset makes c ready for the next body.
func (c *Chunked) Reset() { *c = Chunked{} }

// Done reports whether the body has ended, its trailer included.
func (c *Chunked) Done() bool { return c.state == chunkDone }

// Next looks at b, the bytes that follow what was consumed so far. It returns
// how many bytes it consumed and which of them are data. It takes a step at a
// time: call it until Done, or until it consumes nothing, which means that b
// must grow. Trailer fields are added to t; their bytes are those of b.
func (c *Chunked) Next(b []byte, t *exchange.Header, l *Limits) (data []byte, n int, err error) {
	switch c.state {
	case chunkSize:
		n, err = c.sizeLine(b)
		return nil, n, err
	case chunkData:
		k := min(uint64(len(b)), c.left)
		c.left -= k
		if c.left == 0 {
			c.state = chunkEnd
		}
		return b[:k], int(k), nil
	case chunkEnd:
		if len(b) > 0 && b[0] != '\r' || len(b) > 1 && b[1] != '\n' {
			return nil, 0, BadChunkEnd
		}
		if len(b) < 2 {
			return nil, 0, nil
		}
		c.state = chunkSize
		return nil, 2, nil
	case chunkTrailer:
		n, err = c.trailer(b, t, l)
		return nil, n, err
	}
	return nil, 0, nil
}

// InTrailer reports whether the last chunk was seen and the trailer is next.
func (c *Chunked) InTrailer() bool { return c.state == chunkTrailer }

// Left returns how many bytes of data are known to follow directly: these
// need no decoding.
func (c *Chunked) Left() uint64 {
	if c.state == chunkData {
		return c.left
	}
	return 0
}

// Skip passes over n bytes of data that were moved past the decoder. n is at
// most Left.
func (c *Chunked) Skip(n uint64) {
	if c.left -= n; c.left == 0 {
		c.state = chunkEnd
	}
}

func (c *Chunked) sizeLine(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if _, ok := unhex(b[0]); !ok {
		return 0, BadChunkSize // early: it cannot become a size line
	}
	e := bytes.IndexByte(b, '\n')
	switch {
	case e < 0 && len(b) <= maxChunkLine:
		return 0, nil
	case e < 0 || e > maxChunkLine:
		return 0, ChunkLineTooLong
	case b[e-1] != '\r':
		return 0, BadLineEnd
	}
	size, err := parseChunkSize(b[:e-1])
	if err != nil {
		return 0, err
	}
	c.left, c.state = size, chunkData
	if size == 0 {
		c.state = chunkTrailer
		c.scan = Scanner{bare: true}
	}
	return e + 1, nil
}

// parseChunkSize reads a size line without its CRLF. Extensions are checked
// for their form and dropped.
func parseChunkSize(line []byte) (size uint64, err error) {
	i := 0
	for ; i < len(line); i++ {
		d, ok := unhex(line[i])
		if !ok {
			break
		}
		if i == 15 {
			return 0, BadChunkSize // would not fit beside other counts
		}
		size = size<<4 | uint64(d)
	}
	if i == 0 {
		return 0, BadChunkSize
	}
	ext := line[i:]
	blank := 0
	for blank < len(ext) && (ext[blank] == ' ' || ext[blank] == '\t') {
		blank++
	}
	if blank == len(ext) {
		if blank > 0 {
			return 0, BadChunkSize
		}
		return size, nil
	}
	if ext[blank] != ';' {
		return 0, BadChunkSize
	}
	return size, checkExtensions(ext[blank:])
}

// checkExtensions checks *( BWS ";" BWS token [ BWS "=" BWS value ] ).
func checkExtensions(b []byte) error {
	for len(b) > 0 {
		b = skipBlank(b)
		if len(b) == 0 || b[0] != ';' {
			return BadChunkExtension
		}
		b = skipBlank(b[1:])
		n := tokenLength(b)
		if n == 0 {
			return BadChunkExtension
		}
		b = b[n:]
		value := skipBlank(b)
		if len(value) == 0 || value[0] != '=' {
			continue // a blank may only come before what follows
		}
		b = skipBlank(value[1:])
		if len(b) > 0 && b[0] == '"' {
			n = quotedLength(b)
		} else {
			n = tokenLength(b)
		}
		if n == 0 {
			return BadChunkExtension
		}
		b = b[n:]
	}
	return nil
}

func skipBlank(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	return b
}

func tokenLength(b []byte) int {
	n := 0
	for n < len(b) && classes[b[n]]&classToken != 0 {
		n++
	}
	return n
}

// quotedLength returns the length of the quoted string at the start of b, 0
// if it does not end or holds a control character.
func quotedLength(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch {
		case b[i] == '"':
			return i + 1
		case b[i] == '\\':
			i++
			if i == len(b) {
				return 0
			}
			fallthrough
		default:
			if classes[b[i]]&classValue == 0 {
				return 0
			}
		}
	}
	return 0
}

// trailer parses the trailer section once all of it is there.
func (c *Chunked) trailer(b []byte, t *exchange.Header, l *Limits) (int, error) {
	end, err := c.scan.Scan(b, l)
	if end == 0 || err != nil {
		return 0, err
	}
	c.state = chunkDone
	var f Framing
	if err := parseFields(b[:end], t, &f); err != nil {
		return 0, err
	}
	return end, nil
}

// TrailerAllowed reports whether a field may stand in a trailer section: it
// must not frame, route, authenticate or modify the message (RFC 9110 6.5.1).
func TrailerAllowed(id exchange.FieldID) bool {
	switch id {
	case exchange.ContentLength, exchange.TransferEncoding, exchange.Host, exchange.Connection,
		exchange.KeepAlive, exchange.TE, exchange.Trailer, exchange.Upgrade, exchange.ProxyConnection,
		exchange.Authorization, exchange.ProxyAuthorization, exchange.ProxyAuthenticate,
		exchange.WWWAuthenticate, exchange.Cookie, exchange.SetCookie, exchange.ContentEncoding,
		exchange.ContentType, exchange.ContentRange, exchange.Range, exchange.CacheControl,
		exchange.Expect, exchange.Forwarded, exchange.XForwardedFor, exchange.XForwardedHost,
		exchange.XForwardedPrefix, exchange.XForwardedProto, exchange.MSToken, exchange.MSEvent,
		exchange.MSClientCert, exchange.MSWinAuthToken, exchange.IfMatch, exchange.IfNoneMatch,
		exchange.IfModifiedSince, exchange.IfUnmodifiedSince, exchange.IfRange, exchange.Age,
		exchange.Date, exchange.Expires, exchange.Location, exchange.RetryAfter, exchange.Vary:
		return false
	}
	return true
}
