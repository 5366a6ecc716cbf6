package serve

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/sockio"
)

// starter starts a server that is reached over sockets.
type starter func(testing.TB, Settings, exchange.Handler) *host

// overBoth runs a test over clear connections and over TLS: what a connection
// does must not depend on it.
func overBoth(t *testing.T, f func(*testing.T, starter)) {
	t.Parallel()
	t.Run("clear", func(t *testing.T) { t.Parallel(); f(t, onSockets) })
	t.Run("TLS", func(t *testing.T) { t.Parallel(); f(t, onTLS) })
}

// socket is what a test does to its end of a connection.
type socket interface {
	net.Conn
	CloseWrite() error
	SetLinger(seconds int) error
}

// secureSocket is a TLS client that leaves as one that is not.
type secureSocket struct {
	*tls.Conn
	tcp *net.TCPConn
}

func (s secureSocket) SetLinger(seconds int) error { return s.tcp.SetLinger(seconds) }

func (s secureSocket) CloseWrite() error {
	return errors.Join(s.Conn.CloseWrite(), s.tcp.CloseWrite())
}

// onTLS starts a server on a loopback port that speaks TLS.
func onTLS(tb testing.TB, set Settings, h exchange.Handler) *host {
	tb.Helper()
	return onTLSWith()(tb, set, h)
}

// onTLSWith is onTLS with clients that ask for these protocols.
func onTLSWith(protocols ...string) starter {
	return func(tb testing.TB, set Settings, h exchange.Handler) *host {
		tb.Helper()
		return startTLS(tb, set, h, protocols)
	}
}

func startTLS(tb testing.TB, set Settings, h exchange.Handler, protocols []string) *host {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	config, roots := testCertificate(tb)
	v := beginTLS(tb, l, config, set, h)
	v.dial = func() net.Conn {
		tcp, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			tb.Fatal(err)
		}
		tcp.SetDeadline(time.Now().Add(hangs))
		nc := secureSocket{tls.Client(tcp, &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: protocols}), tcp.(*net.TCPConn)}
		tb.Cleanup(func() { nc.Close() })
		if err := nc.Handshake(); err != nil {
			tb.Fatal(err)
		}
		return nc
	}
	return v
}

// testCertificate returns what a server for localhost shows, and who vouches
// for it.
func testCertificate(tb testing.TB) (*tls.Config, *x509.CertPool) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	set := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, set, set, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{
		Certificates:                []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:                  []string{"h2", "http/1.1"},
		DynamicRecordSizingDisabled: true,
	}, roots
}

// An exchange over TLS knows so, and what was agreed.
func TestSecureExchange(t *testing.T) {
	t.Parallel()
	v := onTLS(t, Settings{}, exchange.HandlerFunc(func(x *exchange.Exchange) error {
		s := x.Conn.TLS
		return answer(x, 200, x.Request.Scheme+" "+tls.VersionName(s.Version)+" "+s.ServerName)
	}))
	nc := v.dial()
	io.WriteString(nc, get("/"))
	if _, body := answered(t, bufio.NewReader(nc), "GET"); body != "https TLS 1.3 localhost" {
		t.Errorf("%q", body)
	}
}

// Whoever does not get through a handshake is refused within the header time,
// and learns why if he speaks HTTP.
func TestHandshakeRefused(t *testing.T) {
	t.Parallel()
	config, _ := testCertificate(t)
	serve := func(set Settings) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		beginTLS(t, l, config, set, pages)
		return l.Addr().String()
	}
	// Who falls silent waits for the time to pass, and nobody else.
	short, long := serve(Settings{HeaderTime: 10 * sockio.Tick}), serve(Settings{HeaderTime: hangs, DrainTime: hangs})
	tests := map[string]struct {
		send string
		want string // part of what comes back; "": nothing readable
	}{
		"silence":       {"", ""},
		"a few bytes":   {"\x16\x03\x01", ""},
		"a record":      {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", ""},
		"noise":         {"\x00\xff\x00\xff\x00\xff\x00\xff", ""},
		"clear":         {get("/"), "HTTP/1.1 400 Bad Request\r\n"},
		"clear upload":  {"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("b", 100_000), "This port expects TLS"},
		"HTTP/2":        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 400"},
		"an old client": {"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + strings.Repeat("\x00", 40), ""},
		"large hello":   {"\x16\x03\x01\x40\x00\x01\x01\x86\xa0" + strings.Repeat("a", 16<<10), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, most := long, hangs/2
			if name == "silence" || strings.HasPrefix(name, "a ") {
				address, most = short, 10*time.Second // less than the header time of others
			}
			nc, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			nc.SetDeadline(time.Now().Add(most))
			io.WriteString(nc, tt.send)
			got, err := io.ReadAll(nc)
			if address == short && errors.Is(err, syscall.ECONNRESET) {
				err = nil // the time had passed when it sent
			}
			if err != nil || !strings.Contains(string(got), tt.want) || tt.want == "" && strings.Contains(string(got), "HTTP") {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// A stop does not wait for handshakes that do not come to an end.
func TestShutdownDuringHandshake(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config, _ := testCertificate(t)
	v := beginTLS(t, l, config, Settings{HeaderTime: hangs}, pages)
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	io.WriteString(nc, "\x16\x03\x01")
	eventually(t, "the connection", func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		for c := range v.conns {
			return c.idle.Load() && c.sock.Alive()
		}
		return false
	})
	begin := time.Now()
	if err := v.Shutdown(t.Context()); err != nil || time.Since(begin) > hangs/2 {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

// A response with its head is one record, hence one packet and one system
// call, from the first response on.
func TestResponseIsOneRecord(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("b", 15<<10)
	v := onTLS(t, Settings{}, exchange.HandlerFunc(func(x *exchange.Exchange) error { return answer(x, 200, body) }))
	nc := v.dial()
	io.WriteString(nc, get("/"))
	b := make([]byte, 32<<10)
	n, err := nc.Read(b) // returns what is in one record
	if err != nil || !strings.HasSuffix(string(b[:n]), "\r\n\r\n"+body) {
		t.Errorf("%d bytes, %v", n, err)
	}
}
