package main

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseLoad(t *testing.T) {
	t.Parallel()
	said := "Running 1s test\n  1 threads\n" +
		`{"requests":12,"micros":1000000,"p50":5,"p99":9,"connect":0,"read":1,"write":0,"status":2,"timeout":0}` + "\n"
	got, err := parseLoad([]byte(said))
	if want := (loadResult{Requests: 12, Micros: 1000000, P50: 5, P99: 9, Read: 1, Status: 2}); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := parseLoad([]byte("unable to connect\n")); err == nil {
		t.Error("output without a result is accepted")
	}
}

func TestParseH2load(t *testing.T) {
	t.Parallel()
	said := "finished in 1.00s, 40.00 req/s, 2.00MB/s\n" +
		"requests: 40 total, 50 started, 40 done, 33 succeeded, 7 failed, 2 errored, 1 timeout\n" +
		"status codes: 33 2xx, 0 3xx, 4 4xx, 0 5xx\n"
	got, err := parseH2load([]byte(said))
	if want := (loadResult{Requests: 40, Status: 4, Read: 2, Timeout: 1}); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if _, err := parseH2load([]byte("[ERROR] Address lookup failed\n")); err == nil {
		t.Error("output without counts is accepted")
	}
}

func TestParseTimes(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	for range 98 {
		log.WriteString("1764440000000000\t200\t30\n")
	}
	log.WriteString("1764440000000000\t200\t20\n1764440000000000\t200\t900\n")
	p50, p99, err := parseTimes([]byte(log.String()))
	if p50 != 30 || p99 != 900 || err != nil {
		t.Errorf("got %d, %d, %v", p50, p99, err)
	}
	if p50, p99, err := parseTimes(nil); p50 != 0 || p99 != 0 || err != nil {
		t.Errorf("of nothing: %d, %d, %v", p50, p99, err)
	}
	for _, bad := range []string{"1 200\n", "1 200 x\n"} {
		if _, _, err := parseTimes([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// secureServer answers hello to everything, with the certificate of the bench.
func secureServer(t *testing.T, config *tls.Config) (addr string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "certificate.pem")
	if err := makeCertificate(file); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		t.Fatal(err)
	}
	config.Certificates = []tls.Certificate{pair}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Proto)
	}))
	s.TLS, s.EnableHTTP2 = config, true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

const protoSize = len("HTTP/1.1")

// Connections that resume a session are told from those that do not.
func TestArrive(t *testing.T) {
	t.Parallel()
	with, without := secureServer(t, &tls.Config{}), secureServer(t, &tls.Config{SessionTicketsDisabled: true})
	const while = 20 * time.Millisecond
	for _, test := range []struct {
		name string
		load load
		addr string
		ok   bool
	}{
		{"new", arrivals, with, true},
		{"resumed", returns, with, true},
		{"never resumed", returns, without, false},
	} {
		c := testCase{load: test.load, proto: https1, conns: 2, path: "/", reply: protoSize}
		r, err := arrive(context.Background(), c, test.addr, while)
		if ok := err == nil && r.Requests > 0 && r.Connect == 0 && r.P99 >= r.P50 && r.P50 > 0; ok != test.ok {
			t.Errorf("%s: %+v, %v", test.name, r, err)
		}
	}
}

// openOne leaves a connection behind that has answered one request whole, and
// takes no other answer.
func TestOpenOne(t *testing.T) {
	t.Parallel()
	addr := secureServer(t, &tls.Config{})
	for _, p := range []protocol{https1, https2} {
		c := testCase{proto: p, path: "/", reply: protoSize}
		nc, err := openOne(context.Background(), c, addr, tlsConfig(p))
		if err != nil {
			t.Errorf("protocol %d: %v", p, err)
			continue
		}
		nc.Close()
		c.reply++
		if nc, err := openOne(context.Background(), c, addr, tlsConfig(p)); err == nil {
			nc.Close()
			t.Errorf("protocol %d: an answer of another length is accepted", p)
		}
	}
}

// A client of the bench speaks the protocol of its case and no other.
func TestNewClient(t *testing.T) {
	t.Parallel()
	i := &instance{addr: secureServer(t, &tls.Config{})}
	for p, want := range map[protocol]string{https1: "HTTP/1.1", https2: "HTTP/2.0"} {
		client := newClient(p)
		defer client.CloseIdleConnections()
		if got, err := i.ask(context.Background(), client, testCase{proto: p}, "/", 0); err != nil || string(got) != want {
			t.Errorf("got %q, %v; want %s", got, err, want)
		}
	}
	old := &instance{addr: secureServer(t, &tls.Config{MaxVersion: tls.VersionTLS12})}
	if _, err := old.ask(context.Background(), newClient(https1), testCase{proto: https1}, "/", 0); err == nil {
		t.Error("TLS 1.2 is accepted")
	}
}
