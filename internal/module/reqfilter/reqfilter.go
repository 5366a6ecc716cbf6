// Package reqfilter is the module that refuses requests by their own
// properties, as IIS's Request Filtering does. It bounds the body of a
// request and the segments of its path, and hides names from all handlers; the
// other filters of that section follow.
//
// internal/plan puts it into the chain of a node.
package reqfilter

import (
	"bytes"
	"fmt"

	"github.com/perchserver/perch/internal/exchange"
)

// Settings of one node.
type Settings struct {
	// MaxBody is the largest request body in bytes (maxAllowedContentLength);
	// negative is no limit.
	MaxBody int64

	// MaxSegments is how many segments a path may have (maxUrlSegments); 0 is
	// no limit, as for HTTP.sys.
	MaxSegments int

	// Hidden are the names that no segment of a path may have (hiddenSegments).
	Hidden Segments
}

// DefaultMaxBody is IIS's own default for maxAllowedContentLength.
const DefaultMaxBody = 30_000_000

// Module returns the module.
func Module(set Settings) exchange.Module {
	return func(next exchange.Handler) exchange.Handler {
		return exchange.HandlerFunc(func(x *exchange.Exchange) error {
			if err := set.Judge(&x.Request.Target); err != nil {
				return err
			}
			if set.MaxBody >= 0 && x.Request.HasBody() {
				if x.Request.Length > set.MaxBody {
					return exchange.BodyTooLarge("filter request", "Content-Length exceeds maxAllowedContentLength")
				}
				x.Request.Body.Limit(set.MaxBody)
			}
			return next.Serve(x)
		})
	}
}

// Judge returns why a path is refused, nil if it is not. An encoded slash
// counts as one. Where it may hide a name, both readings of the path are
// judged: nobody knows which one the handler takes.
func (set *Settings) Judge(t *exchange.Target) error {
	path := t.Path
	if t.HiddenSlash {
		path = t.Separated
	}
	if set.MaxSegments > 0 && bytes.Count(bytes.TrimSuffix(path, []byte("/")), []byte("/")) > set.MaxSegments {
		return &exchange.Error{
			Status: 404, SubStatus: 20, Op: "filter request",
			Public: "The path has more segments than are allowed here",
			Err:    fmt.Errorf("the path has more segments than the %d of maxUrlSegments", set.MaxSegments),
		}
	}
	hidden := set.Hidden.find(path)
	if hidden == nil && t.HiddenSlash {
		hidden = set.Hidden.find(t.Path)
	}
	if hidden != nil {
		return exchange.Errorf(404, 8, "filter request", "segment %q is hidden by request filtering", hidden)
	}
	return nil
}
