// Package hsts is the module that tells clients to come over https from now
// on (RFC 6797), and sends those there who did not, as the element hsts of a
// site asks for (spec iis-front 1.5).
//
// internal/plan puts it around the chain of every node of the site, error
// pages included.
package hsts

import (
	"bytes"
	"strconv"
	"sync"

	"github.com/perchserver/perch/internal/exchange"
)

// Settings of one site.
type Settings struct {
	MaxAge            int64 // seconds; 0 makes clients forget what they were told
	IncludeSubDomains bool
	Preload           bool
	Redirect          bool // requests over http are sent to https
}

// Module returns the module.
func Module(set Settings) exchange.Module {
	value := "max-age=" + strconv.FormatInt(set.MaxAge, 10)
	if set.IncludeSubDomains {
		value += "; includeSubDomains"
	}
	if set.Preload {
		value += "; preload"
	}
	field := []byte(value)
	writers := &sync.Pool{New: func() any { return &writer{value: field} }}
	return func(next exchange.Handler) exchange.Handler {
		return exchange.HandlerFunc(func(x *exchange.Exchange) error {
			if x.Request.Scheme != "https" {
				if set.Redirect {
					return redirect(x)
				}
				return next.Serve(x) // RFC 6797 section 7.2
			}
			w := writers.Get().(*writer)
			w.Writer, x.Response.Writer = x.Response.Writer, w
			err := next.Serve(x)
			x.Response.Writer, w.Writer = w.Writer, nil
			writers.Put(w)
			return err
		})
	}
}

// writer adds the field to the response, whoever writes it.
type writer struct {
	exchange.Writer
	value []byte
}

// WriteHead implements exchange.Writer.
func (w *writer) WriteHead(x *exchange.Exchange) error {
	h := &x.Response.Header
	h.DelName("Strict-Transport-Security") // RFC 6797 section 6.1: one alone
	h.AddName([]byte("Strict-Transport-Security"), w.value)
	return w.Writer.WriteHead(x)
}

// redirect sends the client to the same host and target over https, without a
// port: to 443 (spec iis-front 1.5). RFC 6797 section 7.2 asks for a 301.
func redirect(x *exchange.Exchange) error {
	host := x.Request.Host
	if i := bytes.LastIndexByte(host, ':'); i > bytes.LastIndexByte(host, ']') {
		host = host[:i]
	}
	location := append(append([]byte("https://"), host...), x.Request.Target.Forward...)
	if x.Request.Target.HasQuery {
		location = append(append(location, '?'), x.Request.Target.Query...)
	}
	r := &x.Response
	r.Header.Reset()
	r.Status, r.Length = 301, 0
	r.Header.Add(exchange.Location, location)
	return r.Writer.WriteHead(x)
}
