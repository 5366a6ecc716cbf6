package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
)

// ErrNobody is the error of Ask where no host serves the subject.
var ErrNobody = errors.New("no running perch serves it")

// Ask sends a request to every host of this user that serves a subject, and
// calls each with its answer. Errors of hosts are joined.
func Ask(ctx context.Context, folder, subject string, request Request, each func(answer json.RawMessage) error) error {
	files, err := sockets(folder, subject)
	if err != nil {
		return err
	}
	asked := 0
	var errs []error
	for _, file := range files {
		answer, err := ask(ctx, file, request)
		if refused(err) || errors.Is(err, os.ErrNotExist) {
			continue // left by a host that was killed, or ending
		}
		asked++
		if err == nil {
			err = each(answer)
		}
		errs = append(errs, err)
	}
	if asked == 0 {
		return ErrNobody
	}
	return errors.Join(errs...)
}

func ask(ctx context.Context, file string, request Request) (json.RawMessage, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", file)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if err := json.NewEncoder(c).Encode(request); err != nil {
		return nil, fmt.Errorf("ask the host at %s: %w", file, err)
	}
	var r reply
	if err := read(c, maxAnswer, &r); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("read the answer of the host at %s: %w", file, err)
	}
	if r.Error != "" {
		return nil, errors.New(r.Error)
	}
	return r.Answer, nil
}
