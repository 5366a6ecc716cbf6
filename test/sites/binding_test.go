package sites

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

// flips is how often a binding is changed under load, to end as narrow as it
// began, and callers how many clients call meanwhile, each on one new connection
// after the other.
const (
	flips   = 42
	callers = 4
)

// call has clients call until the test has changed everything, and returns how
// many calls there were.
func call(t *testing.T, once func() error) (stop func() int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := once(); err != nil {
					t.Errorf("call %d: %v", calls.Load(), err)
					return
				}
				calls.Add(1)
			}
		})
	}
	return func() int64 {
		cancel()
		all.Wait()
		return calls.Load()
	}
}

// TestWiderAndNarrowerBindings changes on which addresses a site listens while
// new connections come to the one that all its bindings have in common: none
// is refused, none reset, and each is answered.
func TestWiderAndNarrowerBindings(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	root := page(t, "here")
	at := func(port, host string) []string {
		return []string{site(1, "a", []string{host + ":" + port + ":"}, "/="+root)}
	}
	h, port := s.startAt(t, "127.0.0.1", func(port string) []string { return at(port, "127.0.0.1") })
	addr := "127.0.0.1:" + port
	stop := call(t, func() error {
		c, err := net.DialTimeout("tcp", addr, harness.Limit)
		if err != nil {
			return err
		}
		defer c.Close()
		return exchange(c, bufio.NewReader(c), []byte("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), func(body []byte) error {
			if string(body) != "here" {
				return fmt.Errorf("answered %.80q", body)
			}
			return nil
		})
	})
	kept := harness.Dial(t, addr)
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	hosts := []string{"*", "127.0.0.1", "0.0.0.0", "*", "0.0.0.0", "127.0.0.1"}
	for i := range flips {
		s.sites = at(port, hosts[i%len(hosts)])
		if i%7 == 3 { // a new configuration that cannot be
			s.sites = append(s.sites, site(2, "b", []string{taken.Addr().String() + ":"}, "/="+root))
			s.write(t)
			if out, code := s.reload(t); code != 1 {
				t.Fatalf("reload %d: %d %s", i, code, out)
			}
			s.sites = s.sites[:1]
		}
		s.write(t)
		if out, code := s.reload(t); code != 0 {
			t.Fatalf("reload %d: %d %s", i, code, out)
		}
		kept.SetDeadline(time.Now().Add(harness.Limit))
		if r := kept.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").Response("GET"); r.StatusCode != 200 || r.Close {
			t.Fatalf("reload %d: the connection that is kept: %d", i, r.StatusCode)
		}
	}
	t.Logf("%d calls", stop())
	if text := h.Stderr(); strings.Contains(text, "sockets are not as they should be") {
		t.Errorf("the log:\n%s", text)
	}
	// What has become narrow does not stay open at other addresses.
	harness.Eventually(t, func() bool {
		c, err := net.Dial("tcp", "127.0.0.3:"+port)
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	}, "other addresses are refused")
}

// TestSchemeOfABindingChanges lets a port be for http and for https in turn:
// a client of either is answered as the moment has it, and never refused or
// cut.
func TestSchemeOfABindingChanges(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	root := page(t, "here")
	at := func(port, scheme, host string) []string {
		text := site(1, "a", []string{host + ":" + port + ":localhost"}, "/="+root)
		return []string{strings.Replace(text, `protocol="http"`, `protocol="`+scheme+`"`, 1)}
	}
	h, port := s.startAt(t, "127.0.0.1", func(port string) []string { return at(port, "http", "127.0.0.1") })
	addr := "127.0.0.1:" + port
	var answered [2]atomic.Int64
	clear := call(t, func() error {
		c, err := net.DialTimeout("tcp", addr, harness.Limit)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(harness.Limit))
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
			return err
		}
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return err
		}
		if _, err = io.ReadAll(r.Body); r.StatusCode == 200 {
			answered[0].Add(1)
		} else if r.StatusCode != 400 {
			err = fmt.Errorf("status %d", r.StatusCode)
		}
		return err
	})
	secure := call(t, func() error {
		c, err := net.DialTimeout("tcp", addr, harness.Limit)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(harness.Limit))
		secured := tls.Client(c, &tls.Config{ServerName: "localhost", InsecureSkipVerify: true}) // it is about the connection
		err = secured.Handshake()
		var alert *net.OpError
		if record := (tls.RecordHeaderError{}); errors.As(err, &record) || errors.As(err, &alert) && alert.Op == "remote error" {
			return nil // a clear answer, or that no certificate is for the port any more
		}
		if err != nil {
			return err
		}
		answered[1].Add(1)
		return exchange(secured, bufio.NewReader(secured), []byte("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), func([]byte) error { return nil })
	})
	hosts := []string{"127.0.0.1", "127.0.0.1", "*", "127.0.0.1", "*", "*"}
	for i := range flips {
		scheme := "https"
		if i%2 == 1 {
			scheme = "http"
		}
		s.sites = at(port, scheme, hosts[i%len(hosts)])
		s.write(t)
		if out, code := s.reload(t); code != 0 {
			t.Fatalf("reload %d: %d %s", i, code, out)
		}
		// It is in force when the command ends.
		if err := hello(addr); (err == nil) != (scheme == "https") {
			t.Fatalf("reload %d, to %s: a handshake: %v", i, scheme, err)
		}
	}
	t.Logf("%d calls over http, %d over https; %d and %d came when it was their turn", clear(), secure(), answered[0].Load(), answered[1].Load())
	if text := h.Stderr(); strings.Contains(text, "sockets are not as they should be") {
		t.Errorf("the log:\n%s", text)
	}
}

// hello tries a handshake.
func hello(addr string) error {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: harness.Limit}, "tcp", addr, &tls.Config{ServerName: "localhost", InsecureSkipVerify: true})
	if err == nil {
		c.Close()
	}
	return err
}
