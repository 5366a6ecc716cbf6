// Package http1 is HTTP/1.1 on the wire (RFC 9112), for both roles: it finds
// and parses the heads of requests and responses, decodes and encodes chunked
// bodies, normalises request targets and writes heads. It is about bytes in
// memory: it knows no socket, no goroutine and no time, so that any driver
// can use it.
//
// It is strict where proxies get hurt: one framing, one Host, CRLF alone ends
// a line, no folding, no space before a colon, no coding but chunked.
//
// The drivers (internal/serve) and the forwarder (internal/handler/forward)
// import it, and internal/http2 for the rules that both versions share.
package http1

// Limits bound a message head.
type Limits struct {
	Line   int // bytes of the first line, its CRLF included
	Fields int // bytes of all field lines, each with its CRLF
	Count  int // fields
}

// Fault is why a message is refused. It is an error and a constant: refusing
// costs nothing.
type Fault uint8

// The faults. Their texts and statuses are in the table below.
const (
	_ Fault = iota
	BadLineEnd
	BadRequestLine
	BadMethod
	BadVersion
	UnknownVersion
	BadTarget
	TargetAboveRoot
	BadEscape
	ControlInTarget
	HostMismatch
	MethodNotAllowed
	AsteriskTarget
	LineTooLong
	BadFieldName
	BadFieldValue
	FoldedField
	FieldsTooLarge
	TooManyFields
	NoHost
	ManyHosts
	BadHost
	BadLength
	ManyLengths
	TwoFramings
	UnknownCoding
	BadCoding
	CodingInHTTP10
	NoLength
	TooManyOptions
	BadStatusLine
	BadChunkSize
	BadChunkEnd
	BadChunkExtension
	ChunkLineTooLong
	CutShort
	TLSOnClearPort
	faultCount
)

type faultRow struct {
	status int
	text   string
}

// faults is never written.
var faults = [faultCount]faultRow{
	BadLineEnd:        {400, "a line does not end with CRLF"},
	BadRequestLine:    {400, "the request line is not method, target and version with one space between"},
	BadMethod:         {400, "the method is not a token"},
	BadVersion:        {400, "the version is not of the form HTTP/1.1"},
	UnknownVersion:    {505, "this HTTP version is not served here"},
	BadTarget:         {400, "the request target is malformed"},
	TargetAboveRoot:   {400, "the path leads above the root"},
	BadEscape:         {400, "a percent sign in the path is not followed by two hexadecimal digits"},
	ControlInTarget:   {400, "the path holds a control character"},
	HostMismatch:      {400, "the target's authority and the Host field differ"},
	MethodNotAllowed:  {405, "this method is not served here"},
	AsteriskTarget:    {405, "the target * is for OPTIONS alone"},
	LineTooLong:       {414, "the request line is too long"},
	BadFieldName:      {400, "a field name is not a token directly followed by a colon"},
	BadFieldValue:     {400, "a field value holds a control character"},
	FoldedField:       {400, "a field is folded over two lines"},
	FieldsTooLarge:    {431, "the header fields are too large"},
	TooManyFields:     {431, "there are too many header fields"},
	NoHost:            {400, "the Host field is missing"},
	ManyHosts:         {400, "there is more than one Host field"},
	BadHost:           {400, "the Host field is not a host and port"},
	BadLength:         {400, "the Content-Length is not a number"},
	ManyLengths:       {400, "there is more than one Content-Length"},
	TwoFramings:       {400, "both Content-Length and Transfer-Encoding are given"},
	UnknownCoding:     {501, "a transfer coding other than chunked is not implemented"},
	BadCoding:         {400, "Transfer-Encoding is malformed or given twice"},
	CodingInHTTP10:    {400, "HTTP/1.0 has no Transfer-Encoding"},
	NoLength:          {400, "HTTP/1.0 does not send a body without a Content-Length"},
	TooManyOptions:    {400, "the Connection field has too many elements"},
	BadStatusLine:     {400, "the status line is malformed"},
	BadChunkSize:      {400, "a chunk size is not a hexadecimal number"},
	BadChunkEnd:       {400, "a chunk does not end where its size says"},
	BadChunkExtension: {400, "a chunk extension is malformed"},
	ChunkLineTooLong:  {400, "a chunk size line is too long"},
	CutShort:          {400, "the connection ended in the middle of the message"},
	TLSOnClearPort:    {400, "this port speaks HTTP without TLS, and a TLS handshake came"},
}

// Error returns the sentence that says what is wrong.
func (f Fault) Error() string { return faults[f].text }

// Status returns the status that refuses a request with this fault. A
// response with a fault is a bad gateway whatever the fault.
func (f Fault) Status() int { return faults[f].status }

// Classes of bytes.
const (
	classToken  = 1 << iota // may stand in a token (RFC 9110 section 5.6.2)
	classValue              // may stand in a field value (section 5.5)
	classTarget             // may stand in a request target
	classPlain              // stands for itself in a path: nothing to decode or normalise
	classHost               // may stand in the name of a Host (spec app-side 1.11)
)

// classes is made once and never written after.
var classes = makeClasses()

func makeClasses() (t [256]uint8) {
	for c := 0; c < 256; c++ {
		b := byte(c)
		alnum := b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
		if alnum || contains("!#$%&'*+-.^_`|~", b) {
			t[c] |= classToken
		}
		if b == '\t' || b >= 0x20 && b != 0x7f {
			t[c] |= classValue
		}
		if b > 0x20 && b < 0x7f && b != '#' {
			t[c] |= classTarget
			if !contains("%\\/.?", b) {
				t[c] |= classPlain
			}
		}
		if alnum || contains("!$&'()-._~", b) {
			t[c] |= classHost
		}
	}
	return t
}

func contains(s string, b byte) bool {
	for i := 0; i < len(s); i++ {
		if s[i] == b {
			return true
		}
	}
	return false
}
