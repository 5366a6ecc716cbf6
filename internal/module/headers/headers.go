// Package headers is the module that adds the fields of the section
// httpProtocol to every response, error pages and 304s included, and ends
// connections after a response where allowKeepAlive is false (spec iis-front
// 4.6). A field that the application has set already stays: the module's stands
// beside it.
//
// internal/plan puts it around the chain of a node, outside of error pages.
package headers

import (
	"sync"

	"github.com/perchserver/perch/internal/exchange"
)

// Settings of one node.
type Settings struct {
	Custom      []Field // in this order
	NoKeepAlive bool
}

// Field is one header field.
type Field struct{ Name, Value string }

// Module returns the module, nil if it has nothing to do.
func Module(set Settings) exchange.Module {
	if len(set.Custom) == 0 && !set.NoKeepAlive {
		return nil
	}
	rules := &rules{close: set.NoKeepAlive}
	for _, f := range set.Custom {
		name := []byte(f.Name)
		rules.fields = append(rules.fields, exchange.Field{ID: exchange.LookupField(name), Name: name, Value: []byte(f.Value)})
	}
	writers := &sync.Pool{New: func() any { return &writer{rules: rules} }}
	return func(next exchange.Handler) exchange.Handler {
		return exchange.HandlerFunc(func(x *exchange.Exchange) error {
			w := writers.Get().(*writer)
			w.Writer, x.Response.Writer = x.Response.Writer, w
			err := next.Serve(x)
			x.Response.Writer, w.Writer = w.Writer, nil
			writers.Put(w)
			return err
		})
	}
}

// rules are what every response gets. They are never changed.
type rules struct {
	fields []exchange.Field
	close  bool
}

// writer applies the rules to the response, whoever writes it.
type writer struct {
	exchange.Writer
	rules *rules
}

// WriteHead implements exchange.Writer.
func (w *writer) WriteHead(x *exchange.Exchange) error {
	h := &x.Response.Header
	h.Fields = append(h.Fields, w.rules.fields...)
	if w.rules.close {
		x.Response.Close = true
	}
	return w.Writer.WriteHead(x)
}
