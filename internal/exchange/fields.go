package exchange

import (
	"encoding/binary"
	"strings"
)

// FieldID is the number of a header field name that some stage asks for.
type FieldID uint8

// The numbered names. Other stands for every name without a number.
const (
	Other FieldID = iota
	Accept
	AcceptEncoding
	AcceptRanges
	Age
	Allow
	Authorization
	CacheControl
	Connection
	ContentEncoding
	ContentLength
	ContentRange
	ContentType
	Cookie
	Date
	ETag
	Expect
	Expires
	Forwarded
	Host
	IfMatch
	IfModifiedSince
	IfNoneMatch
	IfRange
	IfUnmodifiedSince
	KeepAlive
	LastModified
	Location
	MSClientCert
	MSEvent
	MSToken
	MSWinAuthToken
	Origin
	Pragma
	ProxyAuthenticate
	ProxyAuthorization
	ProxyConnection
	Range
	Referer
	RetryAfter
	SecWebSocketExtensions
	SecWebSocketKey
	Server
	SetCookie
	TE
	Trailer
	TransferEncoding
	Upgrade
	UserAgent
	Vary
	Via
	WWWAuthenticate
	XForwardedFor
	XForwardedHost
	XForwardedPrefix
	XForwardedProto
	fieldCount
)

// fieldNames is the standard spelling by number. Never written.
var fieldNames = [fieldCount]string{
	Accept: "Accept", AcceptEncoding: "Accept-Encoding", AcceptRanges: "Accept-Ranges",
	Age: "Age", Allow: "Allow", Authorization: "Authorization", CacheControl: "Cache-Control",
	Connection: "Connection", ContentEncoding: "Content-Encoding", ContentLength: "Content-Length",
	ContentRange: "Content-Range", ContentType: "Content-Type", Cookie: "Cookie", Date: "Date",
	ETag: "ETag", Expect: "Expect", Expires: "Expires", Forwarded: "Forwarded", Host: "Host",
	IfMatch: "If-Match", IfModifiedSince: "If-Modified-Since", IfNoneMatch: "If-None-Match",
	IfRange: "If-Range", IfUnmodifiedSince: "If-Unmodified-Since", KeepAlive: "Keep-Alive",
	LastModified: "Last-Modified", Location: "Location", MSClientCert: "MS-ASPNETCORE-CLIENTCERT",
	MSEvent: "MS-ASPNETCORE-EVENT", MSToken: "MS-ASPNETCORE-TOKEN",
	MSWinAuthToken: "MS-ASPNETCORE-WINAUTHTOKEN", Origin: "Origin", Pragma: "Pragma",
	ProxyAuthenticate: "Proxy-Authenticate", ProxyAuthorization: "Proxy-Authorization",
	ProxyConnection: "Proxy-Connection", Range: "Range", Referer: "Referer",
	RetryAfter: "Retry-After", SecWebSocketExtensions: "Sec-WebSocket-Extensions",
	SecWebSocketKey: "Sec-WebSocket-Key", Server: "Server", SetCookie: "Set-Cookie", TE: "TE",
	Trailer: "Trailer", TransferEncoding: "Transfer-Encoding", Upgrade: "Upgrade",
	UserAgent: "User-Agent", Vary: "Vary", Via: "Via", WWWAuthenticate: "WWW-Authenticate",
	XForwardedFor: "X-Forwarded-For", XForwardedHost: "X-Forwarded-Host",
	XForwardedPrefix: "X-Forwarded-Prefix", XForwardedProto: "X-Forwarded-Proto",
}

// fieldBytes and fieldTable are made of fieldNames once. Never written after.
var (
	fieldBytes = makeFieldBytes()
	fieldTable = makeFieldTable()
)

func makeFieldBytes() (b [fieldCount][]byte) {
	for id, name := range fieldNames {
		b[id] = []byte(name)
	}
	return b
}

func fieldNameBytes(id FieldID) []byte { return fieldBytes[id] }

// lowerNames is the spelling of HTTP/2 by number. Never written.
var lowerNames = makeLowerNames()

func makeLowerNames() (l [fieldCount]string) {
	for id, name := range fieldNames {
		l[id] = strings.ToLower(name)
	}
	return l
}

// String returns the standard spelling, "" for Other.
func (id FieldID) String() string { return fieldNames[id] }

// Lower returns the name in lower case, as HTTP/2 spells it, "" for Other.
func (id FieldID) Lower() string { return lowerNames[id] }

// fieldTable is an open hash table of numbers. It is four times as large as
// it is full, so a miss mostly ends at the first look.
func makeFieldTable() (t [256]FieldID) {
	for id := Accept; id < fieldCount; id++ {
		h := fieldHash(fieldBytes[id])
		for t[h] != Other {
			h++
		}
		t[h] = id
	}
	return t
}

// fieldHash mixes the length and three letters without regard to case.
func fieldHash(name []byte) uint8 {
	n := len(name)
	return uint8(n)*29 ^ (name[0]|0x20)*7 ^ (name[n-1]|0x20)*37 ^ (name[n/2]|0x20)*83
}

// LookupField returns the number of a field name in any case, Other if it has
// none. It does not allocate.
func LookupField(name []byte) FieldID {
	if len(name) < 2 {
		return Other
	}
	for h := fieldHash(name); ; h++ {
		id := fieldTable[h]
		if id == Other {
			return Other
		}
		if foldEqual(name, fieldBytes[id]) {
			return id
		}
	}
}

// foldEqual compares two field names, eight bytes at a time, without regard
// to ASCII case. Both consist of token characters: among those, no two that
// differ only in bit 5 are both found in the numbered names, except letters.
func foldEqual(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	const caseBits = 0x2020202020202020
	for len(a) >= 8 {
		if (binary.LittleEndian.Uint64(a)^binary.LittleEndian.Uint64(b))&^caseBits != 0 {
			return false
		}
		a, b = a[8:], b[8:]
	}
	for i := range a {
		if (a[i]^b[i])&^0x20 != 0 {
			return false
		}
	}
	return true
}
