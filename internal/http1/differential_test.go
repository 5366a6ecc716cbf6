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

// FuzzRequestAgainstNetHTTP holds that whatever is accepted here is accepted
// by the standard library too, with the same method, target, host and body:
// two parsers that disagree are how requests are smuggled.
func FuzzRequestAgainstNetHTTP(f *testing.F) {
	for _, s := range requestSeeds() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := scanIn(b, len(b)+1)
		if n == 0 || err != nil {
			return
		}
		var r exchange.Request
		var fr Framing
		if _, err := ParseRequest(b[:n], &r, &fr, nil); err != nil {
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
