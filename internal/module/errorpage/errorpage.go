// Package errorpage is the module that turns the error of a chain into a
// response: a page for people, problem details for programs, lines of text for
// a terminal. It tells what went wrong in full to the one who can mend it,
// status and request number to everybody else, and everything to the log.
//
// It is the outermost module of a chain. Only plan imports it.
package errorpage

import (
	"cmp"
	"errors"
	"html/template"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/perchserver/perch/internal/exchange"
)

// Settings of the module.
type Settings struct {
	// Development shows details to every client. Otherwise they are for those
	// that are on the same machine and did not come through a proxy.
	Development bool

	// Log gets one line for each error: an error for 5xx, else a debug line.
	// Nil drops them.
	Log *slog.Logger

	// MoreLink is the URL of the administrator's own help, named beside the
	// general one on the pages of failed applications. Empty: none.
	MoreLink string
}

// Module returns the module. Where the chain inside it fails before the
// response was started, it answers in its place; where it fails later, or with
// an error that asks for it, it hands the error on, and the driver cuts the
// response.
func Module(s Settings) exchange.Module {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	m := &module{Settings: s, html: parsePage()}
	return func(next exchange.Handler) exchange.Handler {
		return exchange.HandlerFunc(func(x *exchange.Exchange) error {
			w := x.Response.Writer
			err := next.Serve(x)
			if err == nil {
				return nil
			}
			e := exchange.AsError(err)
			m.log(x, e, err)
			if x.Response.Started || e.Cut {
				return err
			}
			x.Response.Writer = w // a module inside may have put its own in front
			return m.answer(x, e)
		})
	}
}

type module struct {
	Settings
	html *template.Template
}

// answer writes the response for e.
func (m *module) answer(x *exchange.Exchange, e *exchange.Error) error {
	res := &x.Response
	res.Status, res.SubStatus, res.Reason = e.Status, e.SubStatus, nil
	res.Close = res.Close || e.Close
	res.Trailer = nil
	keep := fieldOfStatus(e.Status)
	res.Header.Fields = slices.DeleteFunc(res.Header.Fields, func(f exchange.Field) bool {
		return f.ID != keep || f.ID == exchange.Other
	})

	contentType, body := m.content(x, e)
	if contentType != "" {
		res.Header.AddString(exchange.ContentType, contentType)
	}
	res.Header.AddString(exchange.CacheControl, "no-store")
	if e.RetryAfter > 0 {
		res.Header.Add(exchange.RetryAfter, strconv.AppendInt(nil, int64(e.RetryAfter), 10))
	}
	res.Length = int64(len(body))
	if err := res.Writer.WriteHead(x); err != nil || len(body) == 0 || x.Request.Method == "HEAD" {
		return err
	}
	_, err := res.Writer.Write(body)
	return err
}

// content is the body of the answer and its type: the error's own page, one
// that tells what this client may know, or nothing.
func (m *module) content(x *exchange.Exchange, e *exchange.Error) (contentType string, body []byte) {
	var own exchange.Pager
	switch {
	case errors.As(e.Err, &own):
		return own.Page()
	case e.Empty:
		return "", nil
	}
	body, contentType = m.render(preferred(&x.Request.Header), m.page(x, e))
	return contentType, body
}

// fieldOfStatus returns the field that a handler sets for a status and that
// stays, Other if there is none. All else that it had set is about the
// response that it did not give.
func fieldOfStatus(status int) exchange.FieldID {
	switch status {
	case 401:
		return exchange.WWWAuthenticate
	case 405:
		return exchange.Allow
	case 407:
		return exchange.ProxyAuthenticate
	case 416:
		return exchange.ContentRange
	}
	return exchange.Other
}

// page collects what this client may read of e.
func (m *module) page(x *exchange.Exchange, e *exchange.Error) page {
	p := page{
		Status:    e.Status,
		SubStatus: e.SubStatus,
		Kind:      cmp.Or(e.Kind, generalType(e.Status, e.SubStatus)),
		Public:    printable(e.Public),
		Request:   x.ID(),
	}
	if e.Status == 500 || e.Status == 502 && e.SubStatus == 5 {
		p.Link, p.MoreLink = moduleLink, m.MoreLink
	}
	if m.Development || local(x) {
		r := report(e)
		p.Report = &r
	}
	return p
}

// moduleLink is Microsoft's help for failed starts, on the page as the
// original module has it.
const moduleLink = "https://go.microsoft.com/fwlink/?LinkID=2028526"

// local reports whether the client is on this machine, as far as can be seen:
// a proxy on it would make every client look so. One that adds no field still
// asks for the public host name, and so does a page whose name was made to
// lead here (DNS rebinding), hence the look at the host.
func local(x *exchange.Exchange) bool {
	return x.Conn.Loopback() && loopbackHost(x.Request.Host) &&
		!slices.ContainsFunc(x.Request.Header.Fields, forwarding)
}

// loopbackHost reports whether a Host value names this machine: localhost, a
// name below it (RFC 6761 section 6.3), a loopback address, or nothing.
func loopbackHost(host []byte) bool {
	name := string(host)
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	if name == "" || name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Unmap().IsLoopback()
}

// forwarding reports whether a field was added on the way by a proxy.
func forwarding(f exchange.Field) bool {
	const prefix = "X-Forwarded-"
	name := f.NameBytes()
	return f.ID == exchange.Forwarded || f.ID == exchange.Via ||
		len(name) >= len(prefix) && exchange.EqualFold(name[:len(prefix)], prefix)
}
