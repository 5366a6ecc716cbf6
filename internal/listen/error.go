package listen

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
)

// Error is a binding that cannot be opened. Its text is one sentence with the
// way out.
type Error struct {
	URL     string
	Problem string // what is in the way: "port 80 is taken by nginx (process 412)"
	Hint    string // a way out: "stop it, or listen on another port"
	Err     error  // the cause
}

// Error returns URL, problem and hint.
func (e *Error) Error() string {
	return "listen on " + e.URL + ": " + e.Problem + ": " + e.Hint
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// explain says what a failed listen means and what to do.
func (o *opener) explain(b *Binding, addr netip.Addr, err error) error {
	e := &Error{URL: b.URL, Err: err}
	switch {
	case isTaken(err):
		e.Problem = fmt.Sprintf("port %d is taken", b.Port)
		e.Hint = fmt.Sprintf("`%s` tells by whom; stop that, or listen on another port", ownerCommand(b.Port))
		if owner := o.owner(b.Port); owner != "" {
			e.Problem += " by " + owner
			e.Hint = "stop it, or listen on another port"
		}
	case isDenied(err):
		e.Problem = fmt.Sprintf("this user may not listen on port %d", b.Port)
		e.Hint = privilegeHint
	case isAbsent(err):
		e.Problem = fmt.Sprintf("this machine has no address %s", addr)
		e.Hint = "use one that it has, or * for all of them"
	default:
		e.Problem = systemText(err)
		e.Hint = "use another address or port"
	}
	return e
}

// systemText is the system's part of an error: the address before it is known
// already.
func systemText(err error) string {
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call.Error()
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}
