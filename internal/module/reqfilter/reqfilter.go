// Package reqfilter is the module that refuses requests by their own
// properties, as IIS's Request Filtering does. It bounds the body of a
// request; the other filters of that section follow.
//
// internal/plan puts it into the chain of a node.
package reqfilter

import (
	"errors"

	"github.com/perchserver/perch/internal/exchange"
)

// Settings of one node.
type Settings struct {
	// MaxBody is the largest request body in bytes (maxAllowedContentLength);
	// negative is no limit.
	MaxBody int64
}

// DefaultMaxBody is IIS's own default for maxAllowedContentLength.
const DefaultMaxBody = 30_000_000

// Module returns the module.
func Module(set Settings) exchange.Module {
	return func(next exchange.Handler) exchange.Handler {
		return exchange.HandlerFunc(func(x *exchange.Exchange) error {
			if set.MaxBody >= 0 && x.Request.HasBody() {
				if x.Request.Length > set.MaxBody {
					return tooLarge()
				}
				x.Request.Body.Limit(set.MaxBody)
			}
			return next.Serve(x)
		})
	}
}

// tooLarge is the refusal of a body whose declared length is beyond the limit.
// The connection ends with it: the body is not wanted.
func tooLarge() error {
	return &exchange.Error{
		Status: 413, SubStatus: 1, Op: "filter request", Close: true,
		Public: "The request body is larger than is allowed here",
		Err:    errors.New("Content-Length exceeds maxAllowedContentLength"),
	}
}
