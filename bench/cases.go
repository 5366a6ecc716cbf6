package main

import "fmt"

// kind is what has to run for a case.
type kind int

const (
	proxied kind = iota // the server in front of the backend
	static              // files of a folder
	inline              // an answer that the server makes itself
)

// load is how a case is driven.
type load int

const (
	requests load = iota // as many as go through, by wrk or h2load
	arrivals             // as many new connections as go through, a request on each
	returns              // the same, by clients that were there before: TLS sessions resumed
	bulk                 // the same with large bodies, by the bench itself
	idling               // connections that stay open after one request
)

// protocol is what the clients of a case speak.
type protocol int

const (
	http1  protocol = iota // HTTP/1.1
	https1                 // HTTP/1.1 over TLS
	https2                 // HTTP/2 over TLS
)

func (p protocol) secure() bool { return p != http1 }

// scheme is that of URLs.
func (p protocol) scheme() string {
	if p.secure() {
		return "https"
	}
	return "http"
}

// A testCase is one thing that is measured.
type testCase struct {
	name    string
	title   string
	kind    kind
	load    load
	proto   protocol
	conns   int
	streams int // requests at once on each connection of HTTP/2
	path    string
	reply   int // bytes of the response's body
	send    int // bytes of the request's body; 0 sends GET

	browser bool     // with the header fields of a browser, about 850 bytes
	without []string // servers that cannot do it, or cannot yet
	note    string   // why
}

const (
	kib = 1 << 10
	mib = 1 << 20

	pageSize  = 122 // of the backend's page
	helloSize = 13  // of what servers say themselves

	headroom = 2048 // connections that a server may hold beyond those of a case

	secureIdle = 5 // one of so many idle connections is enough where they are encrypted
)

// allCases lists the cases in the order in which they run.
func allCases(idle int) []testCase {
	haproxy := []string{"haproxy"}
	const noFiles = "HAProxy does not serve files"
	atRest := testCase{name: "idle", title: fmt.Sprintf("%d idle connections, after one proxied GET each", idle), load: idling, conns: idle, path: "/", reply: pageSize}
	if room := fileLimit(); 2*(idle+headroom) > room {
		atRest.without, atRest.note = haproxy, fmt.Sprintf("HAProxy sets two files aside for each connection, and no more than %d may be open here", room)
	}
	return []testCase{
		{name: "small-64", title: "proxied small GET, 64 connections", conns: 64, path: "/", reply: pageSize},
		{name: "small-1000", title: "proxied small GET, 1000 connections", conns: 1000, path: "/", reply: pageSize},
		{name: "headers-64", title: "proxied small GET with a browser's header, 64 connections", conns: 64, path: "/", reply: pageSize, browser: true},
		{name: "down-64k", title: "proxied GET of 64 KiB, 64 connections", load: bulk, conns: 64, path: "/65536", reply: 64 * kib},
		{name: "down-1m", title: "proxied GET of 1 MiB, 64 connections", load: bulk, conns: 64, path: "/1048576", reply: mib},
		{name: "up-1m", title: "proxied POST of 1 MiB, 64 connections", load: bulk, conns: 64, path: "/upload", reply: pageSize, send: mib},
		{name: "static-1k", title: "file of 1 KiB, 64 connections", kind: static, conns: 64, path: "/static/1k.bin", reply: kib, without: haproxy, note: noFiles},
		{name: "static-64k", title: "file of 64 KiB, 64 connections", kind: static, load: bulk, conns: 64, path: "/static/64k.bin", reply: 64 * kib, without: haproxy, note: noFiles},
		{name: "static-10m", title: "file of 10 MiB, 64 connections", kind: static, load: bulk, conns: 64, path: "/static/10m.bin", reply: 10 * mib, without: haproxy, note: noFiles},
		{name: "inline-64", title: "answer made in the server, 64 connections", kind: inline, conns: 64, path: "/hello", reply: helloSize,
			note: "Perch's answer comes from a Go handler in its own pipeline (bench/inline), that of Go ReverseProxy from one of net/http"},
		atRest,
		{name: "tls-64", title: "proxied small GET over TLS, 64 connections", proto: https1, conns: 64, path: "/", reply: pageSize},
		{name: "tls-1m", title: "proxied GET of 1 MiB over TLS, 64 connections", proto: https1, conns: 64, path: "/1048576", reply: mib},
		{name: "h2-64", title: "proxied small GET over HTTP/2 and TLS, 64 connections of one stream", proto: https2, conns: 64, streams: 1, path: "/", reply: pageSize},
		{name: "h2-16x10", title: "proxied small GET over HTTP/2 and TLS, 16 connections of ten streams", proto: https2, conns: 16, streams: 10, path: "/", reply: pageSize},
		{name: "h2-64k", title: "proxied GET of 64 KiB over HTTP/2 and TLS, 16 connections of ten streams", proto: https2, conns: 16, streams: 10, path: "/65536", reply: 64 * kib},
		{name: "h2-1m", title: "proxied GET of 1 MiB over HTTP/2 and TLS, 16 connections of two streams", proto: https2, conns: 16, streams: 2, path: "/1048576", reply: mib},
		{name: "arrive", title: "new TLS connections, a proxied small GET on each", load: arrivals, proto: https1, conns: 16, path: "/", reply: pageSize},
		{name: "return", title: "new TLS connections with a resumed session, a proxied small GET on each", load: returns, proto: https1, conns: 16, path: "/", reply: pageSize},
		{name: "idle-tls", title: fmt.Sprintf("%d idle TLS connections, after one proxied GET each", idle/secureIdle), load: idling, proto: https1, conns: idle / secureIdle, path: "/", reply: pageSize},
		{name: "idle-h2", title: fmt.Sprintf("%d idle HTTP/2 connections over TLS, after one proxied GET each", idle/secureIdle), load: idling, proto: https2, conns: idle / secureIdle, path: "/", reply: pageSize},
	}
}

func caseNames() []string {
	var names []string
	for _, c := range allCases(0) {
		names = append(names, c.name)
	}
	return names
}

// files are what the static cases ask for, by name.
var files = map[string]int{"1k.bin": kib, "64k.bin": 64 * kib, "10m.bin": 10 * mib}

// browserFields is what a browser sends besides Host: with it a head is about
// 850 bytes long.
var browserFields = [][2]string{
	{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"},
	{"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"},
	{"Accept-Language", "en-GB,en;q=0.9,de;q=0.8"},
	{"Accept-Encoding", "gzip, deflate, br, zstd"},
	{"Cache-Control", "max-age=0"},
	{"Referer", "https://shop.example.test/articles/garden?page=2&sort=price"},
	{"Sec-CH-UA", `"Chromium";v="131", "Not_A Brand";v="24"`},
	{"Sec-CH-UA-Mobile", "?0"},
	{"Sec-CH-UA-Platform", `"Linux"`},
	{"Sec-Fetch-Dest", "document"},
	{"Sec-Fetch-Mode", "navigate"},
	{"Sec-Fetch-Site", "same-origin"},
	{"Sec-Fetch-User", "?1"},
	{"Upgrade-Insecure-Requests", "1"},
	{"Cookie", "session=6f1c2b7ae0d94c3f8b5a; theme=dark; .AspNetCore.Antiforgery=CfDJ8Nq1m0Zr3uT5bXw7yA9cEgIkMoQsUvWx"},
}
