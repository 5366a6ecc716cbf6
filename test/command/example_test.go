package command

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

// The first command of the README.
func TestExampleHello(t *testing.T) {
	t.Parallel()
	h := harness.Start(t, harness.Run{Dir: filepath.Join(harness.Root(), "examples", "hello")})
	c := h.Dial()
	c.SetDeadline(time.Now().Add(5 * time.Minute)) // the first start compiles the program
	c.Send("GET /here?x=%3Cb%3E&'y' HTTP/1.1\r\nHost: hello.example\r\n\r\n")
	r := c.Response("GET")
	for _, want := range []string{"hello.example", "<td>http</td>", c.LocalAddr().String(), "Path base", "/here", "&amp;&#39;y&#39;"} {
		if !strings.Contains(r.Text(), want) {
			t.Errorf("the page has no %q: %s", want, r.Text())
		}
	}
}
