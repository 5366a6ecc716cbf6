package sockio

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
)

// secured returns a connection under TLS, the real layer, and its peer, whose
// bytes pass through the returned tap.
func secured(tb testing.TB, w *Watcher, o Owner) (*Conn, *tls.Conn, *tap) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	set := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, set, set, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	c, peer := adopted(tb, w, o)
	peer.SetDeadline(time.Now().Add(time.Minute))
	server := tls.Server(c.Transport(), &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	t := &tap{TCPConn: peer}
	// The kind of a record can be seen from outside in TLS 1.2 alone.
	client := tls.Client(t, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	shaken := make(chan error, 1)
	go func() { shaken <- server.Handshake() }()
	if err := errors.Join(client.Handshake(), <-shaken); err != nil {
		tb.Fatal(err)
	}
	c.Through(server)
	return c, client, t
}

// tap can hold back what passes to the connection, and remembers the record
// that came from it last.
type tap struct {
	*net.TCPConn
	mu   sync.Mutex
	hold bool
	held []byte
	last []byte
}

func (t *tap) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hold {
		t.held = append(t.held, p...)
		return len(p), nil
	}
	return t.TCPConn.Write(p)
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.TCPConn.Read(p)
	if n > 0 {
		t.mu.Lock()
		t.last = append(t.last[:0], p[:n]...)
		t.mu.Unlock()
	}
	return n, err
}

// let passes n of the held bytes on; negative: all.
func (t *tap) let(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n < 0 {
		n = len(t.held)
	}
	t.TCPConn.Write(t.held[:n])
	t.held = t.held[n:]
}

// holder lends one buffer and counts.
type holder struct {
	buf  [64]byte
	held bool
	lent int
}

func (h *holder) Hold() []byte {
	h.held = true
	h.lent++
	return h.buf[:]
}

func (h *holder) Drop() { h.held = false }

// A limit that fires in the middle of a record loses nothing: what came of it
// stays in the layer, and reading goes on.
func TestLayerReadsOnAfterLimit(t *testing.T) {
	t.Parallel()
	c, client, tap := secured(t, newWatcher(t), nil)
	tap.hold = true
	io.WriteString(client, "hello")
	var b [10]byte
	for _, part := range []int{3, 5} { // within the record's header, within its body
		tap.let(part)
		c.LimitRead(1)
		if n, err := c.Read(b[:]); n != 0 || err != ErrLimit {
			t.Fatalf("%d, %v", n, err)
		}
	}
	tap.let(-1)
	c.LimitRead(0)
	if n, err := c.Read(b[:]); string(b[:n]) != "hello" || err != nil {
		t.Errorf("%q, %v", b[:n], err)
	}
}

// BreakRead breaks off a read through the layer, which can be read again.
func TestLayerBreakRead(t *testing.T) {
	t.Parallel()
	c, client, _ := secured(t, newWatcher(t), nil)
	read := make(chan error)
	var b [10]byte
	go func() {
		_, err := c.Read(b[:])
		read <- err
	}()
	c.BreakRead()
	if err := <-read; err != ErrLimit {
		t.Fatal(err)
	}
	c.LimitRead(0)
	io.WriteString(client, "hello")
	if n, err := c.Read(b[:]); string(b[:n]) != "hello" || err != nil {
		t.Errorf("%q, %v", b[:n], err)
	}
}

// ReadHeld returns what is in the layer without waiting for more, records of
// one byte included.
func TestLayerReadHeld(t *testing.T) {
	t.Parallel()
	c, client, tap := secured(t, newWatcher(t), nil)
	tap.hold = true
	for _, text := range []string{"a", "b", "cde"} {
		io.WriteString(client, text)
	}
	tap.let(-1)
	h := &holder{}
	got := ""
	for got != "abcde" {
		n, err := c.ReadHeld(h)
		if err != nil || n == 0 {
			t.Fatalf("%d, %v", n, err)
		}
		got += string(h.buf[:n])
	}
}

// Records that came in one packet wait in the layer, where the socket does not
// tell of them: the connection is not drained until a read has found nothing.
func TestLayerDrained(t *testing.T) {
	t.Parallel()
	c, client, tap := secured(t, newWatcher(t), nil)
	if c.Drained() {
		t.Error("nothing was read yet")
	}
	tap.hold = true
	io.WriteString(client, "one")
	io.WriteString(client, "two")
	tap.let(-1)
	var b [10]byte
	for _, want := range []string{"one", "two", ""} {
		c.LimitRead(time.Minute)
		if want == "" {
			c.LimitRead(1)
		}
		n, err := c.Read(b[:])
		if string(b[:n]) != want || (err == ErrLimit) != (want == "") || c.Drained() != (want == "") {
			t.Errorf("%q, %v, drained %v", b[:n], err, c.Drained())
		}
	}
	if clear, _ := adopted(t, newWatcher(t), nil); !clear.Drained() {
		t.Error("a socket without a layer is never drained")
	}
}

// Transfers go through the layer of either side.
func TestLayerSplice(t *testing.T) {
	t.Parallel()
	w := newWatcher(t)
	in, from, _ := secured(t, w, nil)
	out, to, _ := secured(t, w, nil)
	want := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	go from.Write(want)
	got := make([]byte, len(want))
	done := make(chan error)
	go func() {
		_, err := io.ReadFull(to, got)
		done <- err
	}()
	if n, err := out.Splice(in, int64(len(want))); n != int64(len(want)) || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if err := <-done; err != nil || !bytes.Equal(got, want) {
		t.Errorf("another body: %v", err)
	}
}

// A peer that does not read runs into the write limit, and an abort breaks a
// write off, as without a layer.
func TestLayerWriteEnds(t *testing.T) {
	t.Parallel()
	large := make([]byte, 32<<20)
	c, _, _ := secured(t, newWatcher(t), nil)
	c.LimitWrite(2 * Tick)
	if _, err := c.Write(large); err != ErrLimit {
		t.Errorf("a deaf peer: %v", err)
	}
	c, _, _ = secured(t, newWatcher(t), nil)
	written := make(chan error)
	go func() {
		_, err := c.Write(large)
		written <- err
	}()
	c.Abort()
	if err := <-written; err != ErrAborted {
		t.Errorf("aborted: %v", err)
	}
}

// Closing tells the peer that this is the end, resetting does not.
func TestLayerTellsTheEnd(t *testing.T) {
	t.Parallel()
	const alert = 21 // RFC 8446 section 5.1
	for name, told := range map[string]bool{"close": true, "close write": true, "abort": false, "reset": false} {
		c, client, tap := secured(t, newWatcher(t), nil)
		tap.last = nil
		switch name {
		case "close write":
			c.CloseWrite()
		case "abort":
			c.Abort()
		case "reset":
			c.Reset()
		}
		if name != "close write" {
			c.Close()
		}
		client.Read(make([]byte, 1))
		if got := len(tap.last) > 0 && tap.last[0] == alert; got != told {
			t.Errorf("%s: told %v", name, got)
		}
	}
}
