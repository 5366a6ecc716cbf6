package h2

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"

	"github.com/perchserver/perch/test/harness"
)

// specCases is how many cases h2spec has in its three sections, strict ones
// included: fewer would mean that some were left out.
const specCases = 146

// TestSpec runs every case of h2spec against a proxied application, on a clear
// connection and over TLS.
func TestSpec(t *testing.T) {
	t.Parallel()
	clear, secure := start(t)
	clear.Worker()
	for _, h := range []*harness.Host{clear, secure} {
		t.Run(h.Scheme(), func(t *testing.T) {
			t.Parallel()
			host, port, _ := net.SplitHostPort(h.Addr())
			c := &config.Config{Host: host, Path: "/", Timeout: harness.Limit, MaxHeaderLen: 4000, Strict: true,
				TLS: h.Scheme() == "https", Insecure: true}
			c.Port, _ = strconv.Atoi(port)
			n := 0
			for _, section := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
				t.Run(section.Key, func(t *testing.T) { n += group(t, c, section) })
			}
			if n != specCases {
				t.Errorf("h2spec has %d cases, want %d", n, specCases)
			}
		})
	}
}

// refusedAsHTTP1 stands for the one case that h2spec cannot judge on a port
// where HTTP/1.1 is spoken too: what does not begin with the preface is a bad
// request of that version, and the connection ends as it has to.
func refusedAsHTTP1(c *config.Config) error {
	nc, err := net.Dial("tcp", c.Addr())
	if err != nil {
		return err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(harness.Limit))
	io.WriteString(nc, "INVALID CONNECTION PREFACE\r\n\r\n")
	if all, err := io.ReadAll(nc); err != nil || !strings.HasPrefix(string(all), "HTTP/1.1 400 ") {
		return fmt.Errorf("answered %q, %v; want a 400 and the end of the connection", all, err)
	}
	return nil
}

// group runs the cases of a group and of those in it, and counts them.
func group(t *testing.T, c *config.Config, g *spec.TestGroup) (n int) {
	for i, tc := range append(g.Tests, g.StrictTests...) {
		n++
		t.Run(fmt.Sprintf("%s_%d", g.Section, i+1), func(t *testing.T) {
			conn, err := spec.Dial(c)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			err = tc.Run(c, conn)
			if g.Section == "3.5" && i == 1 && !c.TLS {
				err = refusedAsHTTP1(c)
			}
			if err != nil && err != spec.ErrSkipped {
				t.Errorf("%s\n%s\n%v", tc.Desc, tc.Requirement, err)
			}
		})
	}
	for _, g := range g.Groups {
		n += group(t, c, g)
	}
	return n
}
