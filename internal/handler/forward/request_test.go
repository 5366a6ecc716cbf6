package forward_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/exchange/exchangetest"
)

// What the application gets of a request head: spec aspnetcore-module 3.2 and
// 3.3, with the stricter rules of Perch where a client could pass for the host.
// "{addr}" stands for the client's address, own for the fields that Perch adds.
func TestRequestHead(t *testing.T) {
	t.Parallel()
	const own = "X-Forwarded-For: {addr}\r\nX-Forwarded-Proto: http\r\nMS-ASPNETCORE-TOKEN: secret\r\n"
	for _, c := range []struct {
		name, in, want string
		opts           []option
	}{
		{name: "plain, order and spelling of fields kept",
			in:   "GET /a?b=c HTTP/1.1\r\nX-Z: 1\r\nhOsT: a\r\nAccept: */*\r\nx-z: 2\r\nAccept-Encoding: gzip\r\nCookie: a=b\r\nAuthorization: Basic YTpi\r\n\r\n",
			want: "GET /a?b=c HTTP/1.1\r\nX-Z: 1\r\nhOsT: a\r\nAccept: */*\r\nx-z: 2\r\nAccept-Encoding: gzip\r\nCookie: a=b\r\nAuthorization: Basic YTpi\r\n" + own + "\r\n"},
		{name: "any method", in: "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", want: "BREW / HTTP/1.1\r\nHost: a\r\n" + own + "\r\n"},
		{name: "asterisk", in: "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", want: "OPTIONS * HTTP/1.1\r\nHost: a\r\n" + own + "\r\n"},
		{name: "raw path, empty query",
			in:   "GET /a%2Fb%20%41? HTTP/1.1\r\nHost: a\r\n\r\n",
			want: "GET /a%2Fb%20%41? HTTP/1.1\r\nHost: a\r\n" + own + "\r\n"},
		{name: "normalised path",
			in:   "GET /x/../a//b\\c?d/../e HTTP/1.1\r\nHost: a\r\n\r\n",
			want: "GET /a/b/c?d/../e HTTP/1.1\r\nHost: a\r\n" + own + "\r\n"},
		{name: "absolute target",
			in:   "GET http://Example.test:80/p HTTP/1.1\r\nX-A: 1\r\nHost: example.test:80\r\n\r\n",
			want: "GET /p HTTP/1.1\r\nX-A: 1\r\nHost: example.test:80\r\n" + own + "\r\n"},
		{name: "absolute target without Host",
			in:   "GET http://example.test/p HTTP/1.0\r\nX-A: 1\r\n\r\n",
			want: "GET /p HTTP/1.1\r\nX-A: 1\r\nHost: example.test\r\n" + own + "\r\n"},
		{name: "HTTP/1.0 without Host (RFC 9112 3.2: an empty one)",
			in:   "GET / HTTP/1.0\r\n\r\n",
			want: "GET / HTTP/1.1\r\nHost: \r\n" + own + "\r\n"},
		{name: "no token",
			in:   "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
			want: "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {addr}\r\nX-Forwarded-Proto: http\r\n\r\n",
			opts: []option{token("")}},

		{name: "MS-ASPNETCORE fields of strangers",
			in: "GET / HTTP/1.1\r\nHost: a\r\nMS-ASPNETCORE-TOKEN: x\r\nms-aspnetcore-clientcert: x\r\nMS-ASPNETCORE-EVENT: shutdown\r\nMs-AspNetCore-WinAuthToken: 1\r\n" +
				"MS-ASPNETCORE: x\r\nMS-ASPNETCOREX: x\r\nms-aspnetcore-whatever: x\r\nMS_ASPNETCORE_TOKEN: x\r\nMS-ASPNETCORE_EVENT: x\r\nms_aspnetcore: x\r\nMS-ASPNETCOR: kept\r\n\r\n",
			want: "GET / HTTP/1.1\r\nHost: a\r\nMS-ASPNETCOR: kept\r\n" + own + "\r\n"},
		{name: "forwarding fields of strangers",
			in: "GET / HTTP/1.1\r\nHost: a\r\nForwarded: for=1.2.3.4\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Prefix: /evil\r\n" +
				"X_Forwarded_For: 1\r\nX-Forwarded_Proto: https\r\nx_forwarded-host: evil\r\nX_FORWARDED_PREFIX: /\r\nX-Original-For: kept\r\nX-My_Own: kept\r\n\r\n",
			want: "GET / HTTP/1.1\r\nHost: a\r\nX-Original-For: kept\r\nX-My_Own: kept\r\n" + own + "\r\n"},
		{name: "names that fold onto framing",
			in:   "GET / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\ntransfer_encoding: chunked\r\nX: 1\r\n\r\n",
			want: "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n" + own + "\r\n"},
		{name: "appended to what came",
			in: "GET / HTTP/1.1\r\nX-Forwarded-For: 1.2.3.4:5\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For:\r\nx-forwarded-for: 9.9.9.9, 8.8.8.8\r\n\r\n",
			want: "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4:5, 9.9.9.9, 8.8.8.8, {addr}\r\n" +
				"X-Forwarded-Proto: https, http\r\nMS-ASPNETCORE-TOKEN: secret\r\n\r\n"},

		{name: "hop by hop (RFC 9110 7.6.1)",
			in:   "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, x-hop ,Other\r\nX-Hop: 1\r\nOTHER: 2\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\nX-Stays: 1\r\n\r\n",
			want: "GET / HTTP/1.1\r\nHost: a\r\nX-Stays: 1\r\n" + own + "\r\n"},
		{name: "Connection cannot take Perch's own fields away",
			in:   "GET / HTTP/1.1\r\nHost: a\r\nConnection: Host, X-Forwarded-For, X-Forwarded-Proto, MS-ASPNETCORE-TOKEN\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n",
			want: "GET / HTTP/1.1\r\nHost: a\r\n" + own + "\r\n"},
		{name: "TE: trailers (RFC 9110 10.1.4)",
			in:   "GET / HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: gzip, trailers;q=1\r\nTE: trailers\r\n\r\n",
			want: "GET / HTTP/1.1\r\nHost: a\r\n" + own + "Connection: TE\r\nTE: trailers\r\n\r\n"},
		{name: "TE of codings",
			in:   "GET / HTTP/1.1\r\nHost: a\r\nTE: gzip\r\n\r\n",
			want: "GET / HTTP/1.1\r\nHost: a\r\n" + own + "\r\n"},

		{name: "no body",
			in:   "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
			want: "POST / HTTP/1.1\r\nHost: a\r\n" + own + "\r\n"},
		{name: "length 0 kept",
			in:   "POST / HTTP/1.1\r\nContent-Length: 0\r\nHost: a\r\n\r\n",
			want: "POST / HTTP/1.1\r\nHost: a\r\n" + own + "Content-Length: 0\r\n\r\n"},
		{name: "length, with leading zeroes",
			in:   "POST / HTTP/1.1\r\nContent-Length: 0003\r\nHost: a\r\n\r\nabc",
			want: "POST / HTTP/1.1\r\nHost: a\r\n" + own + "Content-Length: 3\r\n\r\nabc"},
		{name: "chunked, announced trailer",
			in:   "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\nTrailer: X-Sum\r\nHost: a\r\n\r\n3;x=y\r\nabc\r\n0\r\nX-Sum: 1\r\nMS-ASPNETCORE-TOKEN: x\r\nMS_ASPNETCORE_X: x\r\nX_Forwarded_For: x\r\nContent-Length: 9\r\n\r\n",
			want: "POST / HTTP/1.1\r\nTrailer: X-Sum\r\nHost: a\r\n" + own + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"},
		{name: "upgrade",
			in: "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: k\r\nSec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: p\r\n\r\n",
			want: "GET /ws HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: k\r\nSec-WebSocket-Protocol: p\r\n" + own +
				"Connection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"},
		{name: "upgrade with WebSockets off",
			in:   "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n",
			want: "GET /ws HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: k\r\n" + own + "\r\n",
			opts: []option{noWebSockets}},
		{name: "other upgrade with WebSockets off",
			in:   "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n",
			want: "GET /ws HTTP/1.1\r\nHost: a\r\n" + own + "Connection: Upgrade\r\nUpgrade: other\r\n\r\n",
			opts: []option{noWebSockets}},
		{name: "HTTP/1.0 cannot be asked for a body",
			in:   "POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
			want: "POST / HTTP/1.1\r\nHost: a\r\n" + own + "Content-Length: 1\r\n\r\nx"},
		{name: "a body cannot be upgraded",
			in:   "POST /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: other\r\nContent-Length: 1\r\n\r\nx",
			want: "POST /ws HTTP/1.1\r\nHost: a\r\n" + own + "Content-Length: 1\r\n\r\nx"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			want := make(chan string, 1)
			r := newRig(t, func(p *peer) {
				p.want(<-want)
				p.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
				p.ends()
			}, c.opts...)
			client := r.client()
			want <- strings.ReplaceAll(c.want, "{addr}", client.nc.LocalAddr().String())
			client.send(c.in)
			if got := client.head(); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") {
				t.Errorf("answered %q", got)
			}
		})
	}
}

func TestClientCertificate(t *testing.T) {
	t.Parallel()
	der := []byte("\xff\xfe a certificate that is long enough for a line break, were there any in the field\x00")
	play, got := answers(ok)
	r := newRig(t, play)
	x, _ := exchangetest.New("GET", "/", "MS-ASPNETCORE-CLIENTCERT: forged")
	x.Request.Scheme = "https"
	chain := []*x509.Certificate{{Raw: der}, {Raw: []byte("issuer")}}
	x.Conn.TLS = &tls.ConnectionState{PeerCertificates: chain, VerifiedChains: [][]*x509.Certificate{chain}}
	if err := r.channel.Serve(x); err != nil {
		t.Fatal(err)
	}
	want := "1 GET / HTTP/1.1\r\nHost: localhost:8080\r\nX-Forwarded-For: 127.0.0.1:50000\r\nX-Forwarded-Proto: https\r\n" +
		"MS-ASPNETCORE-TOKEN: secret\r\nMS-ASPNETCORE-CLIENTCERT: " + base64.StdEncoding.EncodeToString(der) + "\r\n\r\n"
	if head := <-got; head != want {
		t.Errorf("the application got %q, want %q", head, want)
	}
}

func TestAddressOfIPv6Clients(t *testing.T) {
	t.Parallel()
	play, got := answers(ok)
	r := newRig(t, play)
	x, _ := exchangetest.New("GET", "/")
	x.Conn.RemoteText = "[2001:db8::1]:4711"
	if err := r.channel.Serve(x); err != nil {
		t.Fatal(err)
	}
	if head := <-got; !strings.Contains(head, "X-Forwarded-For: [2001:db8::1]:4711\r\n") {
		t.Errorf("the application got %q", head)
	}
}

// The head of the request belongs to the exchange: it looks the same after it
// was forwarded, and when it is forwarded again.
func TestRequestIsLeftAsItWas(t *testing.T) {
	t.Parallel()
	play, got := answers(ok, ok)
	r := newRig(t, play)
	x, _ := exchangetest.New("HEAD", "/", "Connection: x-hop", "X-Hop: 1", "X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2")
	before := string(headerText(&x.Request.Header))
	for range 2 {
		x.Response = exchange.Response{Writer: x.Response.Writer}
		if err := r.channel.Serve(x); err != nil {
			t.Fatal(err)
		}
	}
	if after := string(headerText(&x.Request.Header)); after != before {
		t.Errorf("fields %q became %q", before, after)
	}
	if a, b := <-got, <-got; a[1:] != b[1:] { // the connection's number left out
		t.Errorf("first %q, then %q", a, b)
	}
}

func headerText(h *exchange.Header) (b []byte) {
	for i := range h.Fields {
		b = append(b, h.Fields[i].NameBytes()...)
		b = append(b, ": "...)
		b = append(b, h.Fields[i].Value...)
		b = append(b, '\n')
	}
	return b
}
