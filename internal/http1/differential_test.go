package http1

import (
	"bufio"
	"bytes"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/exchange"
)

// A difference is a request that we accept and net/http does not, or reads
// otherwise, and why that is right.
type difference struct {
	why string
	is  func(r *exchange.Request, other *http.Request, err error) bool
}

// differences is the whole list: FuzzRequestAgainstNetHTTP fails on any other.
var differences = []difference{
	{"an IPv6 address in an absolute target is checked for its characters here, and whole by who looks it up",
		func(r *exchange.Request, _ *http.Request, err error) bool {
			if err == nil || r.Target.Raw[0] == '/' {
				return false
			}
			host, _, _ := strings.Cut(strings.TrimPrefix(string(r.Host), "["), "]")
			_, bad := netip.ParseAddr(host)
			return r.Host[0] == '[' && bad != nil
		}},
	{"an absolute target and the Host field name one host: which of the two is kept does not matter",
		func(r *exchange.Request, other *http.Request, err error) bool {
			trim := func(s string) string {
				return strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(s), ":80"), ":443")
			}
			return err == nil && r.Target.Raw[0] != '/' && trim(other.Host) == trim(string(r.Host))
		}},
}

// A strictness is a fault for which a request is refused here that net/http
// accepts, and why that is right.
type strictness struct {
	fault Fault
	why   string
	is    func(head string, other *http.Request) bool
}

// strictnesses is the whole list: a request that is refused for another
// fault, or for one of these without its sign, net/http has to refuse too.
var strictnesses = []strictness{
	{BadLineEnd, "RFC 9112 2.2 lets a recipient take a bare LF for the end of a line: the two readings are how heads are split",
		func(head string, _ *http.Request) bool {
			return strings.Contains(strings.ReplaceAll(head, "\r\n", ""), "\n")
		}},
	{LineTooLong, "net/http leaves lengths to its server", func(head string, _ *http.Request) bool { return len(head) > limits.Line }},
	{FieldsTooLarge, "net/http leaves lengths to its server", func(head string, _ *http.Request) bool { return len(head) > limits.Fields }},
	{TooManyFields, "net/http has no limit of fields", func(head string, _ *http.Request) bool { return strings.Count(head, "\n") > limits.Count }},
	{TooManyOptions, "each option is looked for among all fields", func(head string, _ *http.Request) bool {
		return strings.Count(head, ",")+strings.Count(head, "\n") > maxOptions
	}},
	{UnknownVersion, "net/http leaves the version to its server", func(_ string, other *http.Request) bool {
		return other.Proto != "HTTP/1.1" && other.Proto != "HTTP/1.0"
	}},
	{NoHost, "net/http leaves the Host to its server", func(_ string, other *http.Request) bool { return other.ProtoAtLeast(1, 1) }},
	{BadHost, "net/http leaves the Host to its server", func(head string, _ *http.Request) bool {
		return strings.Contains(strings.ToLower(head), "\nhost:")
	}},
	{HostMismatch, "RFC 9112 3.2.2 lets the target win; a client that says two things is not believed", func(_ string, other *http.Request) bool {
		return other.URL.Host != ""
	}},
	{FoldedField, "RFC 9112 5.2 lets a server refuse obsolete folding", func(head string, _ *http.Request) bool {
		return strings.Contains(head, "\n ") || strings.Contains(head, "\n\t")
	}},
	{BadFieldName, "RFC 9112 5.1 forbids a blank before the colon; net/http keeps it as a part of the name", func(_ string, other *http.Request) bool {
		for name := range other.Header {
			if strings.ContainsAny(name, " \t") {
				return true
			}
		}
		return false
	}},
	{ManyLengths, "RFC 9112 6.3 lets equal lengths count as one", func(head string, _ *http.Request) bool {
		return strings.Count(strings.ToLower(head), "\ncontent-length:") > 1
	}},
	{TwoFramings, "RFC 9112 6.1 lets Transfer-Encoding win; that is how requests are smuggled", func(head string, other *http.Request) bool {
		return len(other.TransferEncoding) > 0 || oldCoding(head, other)
	}},
	{CodingInHTTP10, "net/http passes over Transfer-Encoding in HTTP/1.0; RFC 9112 6.1 calls the framing faulty", oldCoding},
	{UnknownCoding, "the same, with a coding that is not chunked", oldCoding},
	{BadCoding, "the same, with something that is no coding", oldCoding},
	{NoLength, "RFC 1945 7.2.2 asks for a length", func(_ string, other *http.Request) bool {
		return other.ProtoMinor == 0 && other.ContentLength <= 0
	}},
	{TargetAboveRoot, "net/http keeps dot segments for its handlers", func(_ string, other *http.Request) bool {
		return strings.Contains(other.URL.Path, "..")
	}},
	{ControlInTarget, "net/http decodes escaped control characters for its handlers", func(_ string, other *http.Request) bool {
		return strings.ContainsFunc(other.URL.Path, func(c rune) bool { return c < 0x20 || c == 0x7f })
	}},
	{BadTarget, "RFC 3986 has no such character in a target, and other parsers take it for an end", func(_ string, other *http.Request) bool {
		return strings.ContainsFunc(other.RequestURI, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '#' }) || other.RequestURI[0] != '/'
	}},
	{MethodNotAllowed, "CONNECT asks for a tunnel, which this is not", func(_ string, other *http.Request) bool { return other.Method == "CONNECT" }},
	{AsteriskTarget, "RFC 9112 3.2.4 keeps * for OPTIONS", func(_ string, other *http.Request) bool { return other.RequestURI == "*" }},
}

// oldCoding reports whether the request has a Transfer-Encoding and is of
// HTTP/1.0.
func oldCoding(head string, other *http.Request) bool {
	return other.ProtoMinor == 0 && strings.Contains(strings.ToLower(head), "\ntransfer-encoding:")
}

// FuzzRequestAgainstNetHTTP holds that whatever is accepted here is accepted
// by the standard library too, with the same method, target, host and body,
// and that what is refused here alone is refused for a reason that is listed:
// two parsers that disagree are how requests are smuggled.
func FuzzRequestAgainstNetHTTP(f *testing.F) {
	for _, s := range requestSeeds() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := scanIn(b, len(b)+1)
		if n == 0 { // refused, or not whole
			refusedToo(t, b, err)
			return
		}
		var r exchange.Request
		var fr Framing
		if _, err := ParseRequest(b[:n], &r, &fr, nil); err != nil {
			refusedToo(t, b[:n], err)
			return
		}
		other, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b[:n])))
		if problem := disagreement(&r, other, err); problem != "" {
			for _, d := range differences {
				if d.is(&r, other, err) {
					return
				}
			}
			t.Fatalf("%q: %s", b[:n], problem)
		}
	})
}

// Every strictness is one: it has an example, which is refused here for that
// fault and accepted by net/http.
func TestStrictnesses(t *testing.T) {
	t.Parallel()
	fields := func(lines ...string) string {
		return "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Join(append(lines, "", ""), "\r\n")
	}
	examples := map[Fault]string{
		BadLineEnd:       "GET / HTTP/1.1\nHost: a\r\n\r\n",
		LineTooLong:      "GET /" + strings.Repeat("a", limits.Line) + " HTTP/1.1\r\nHost: a\r\n\r\n",
		FieldsTooLarge:   fields("X: " + strings.Repeat("a", limits.Fields)),
		TooManyFields:    fields(strings.Repeat("X: a\r\n", limits.Count) + "X: a"),
		TooManyOptions:   fields("Connection: a" + strings.Repeat(",a", maxOptions)),
		UnknownVersion:   "GET / HTTP/2.0\r\n\r\n",
		NoHost:           "GET / HTTP/1.1\r\n\r\n",
		BadHost:          "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
		HostMismatch:     "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
		FoldedField:      fields("X: a", " b"),
		BadFieldName:     fields("X : a"),
		ManyLengths:      fields("Content-Length: 1", "Content-Length: 1"),
		TwoFramings:      fields("Content-Length: 1", "Transfer-Encoding: chunked"),
		CodingInHTTP10:   "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
		UnknownCoding:    "POST / HTTP/1.0\r\nTransfer-Encoding: gzip\r\n\r\n",
		BadCoding:        "POST / HTTP/1.0\r\nTransfer-Encoding: \"\r\n\r\n",
		NoLength:         "POST / HTTP/1.0\r\n\r\n",
		TargetAboveRoot:  "GET /../a HTTP/1.1\r\nHost: a\r\n\r\n",
		ControlInTarget:  "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
		BadTarget:        "GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n",
		MethodNotAllowed: "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
		AsteriskTarget:   "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
	}
	for _, s := range strictnesses {
		example := []byte(examples[s.fault])
		n, err := scanIn(example, len(example))
		if n > 0 {
			_, err = ParseRequest(example[:n], new(exchange.Request), new(Framing), nil)
		}
		other, otherErr := http.ReadRequest(bufio.NewReader(bytes.NewReader(example)))
		if err != s.fault || otherErr != nil || !s.is(string(example), other) {
			t.Errorf("%v: %.80q is refused with %v, and by net/http with %v", s.fault, example, err, otherErr)
		}
	}
}

// refusedToo fails unless net/http refuses what is refused here with err, or
// what is waited for to be whole, or the difference is listed.
func refusedToo(t *testing.T, b []byte, err error) {
	t.Helper()
	other, otherErr := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
	if otherErr != nil {
		return
	}
	for _, s := range strictnesses {
		if err == s.fault && s.is(string(b), other) {
			return
		}
	}
	t.Fatalf("%q: %v, but net/http accepts it", b, err)
}

// disagreement says in what the two differ, "" for nothing.
func disagreement(r *exchange.Request, other *http.Request, err error) string {
	switch {
	case err != nil:
		return "net/http: " + err.Error()
	case other.Method != r.Method:
		return "method " + other.Method
	case other.RequestURI != string(r.Target.Raw):
		return "target " + other.RequestURI
	case other.URL.RawQuery != string(r.Target.Query) && other.RequestURI != "*":
		return "query " + other.URL.RawQuery
	case other.ProtoMinor != int(r.Proto)-10:
		return "version " + other.Proto
	case other.ContentLength != r.Length:
		return "length"
	case len(other.TransferEncoding) > 0 != (r.Length < 0):
		return "transfer coding"
	case other.Host != string(r.Host):
		return "host " + other.Host
	}
	return ""
}
