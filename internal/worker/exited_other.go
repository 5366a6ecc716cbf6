//go:build !linux

package worker

import "context"

// exited is nil: only children can be waited for here.
func exited(context.Context, int) <-chan struct{} { return nil }
