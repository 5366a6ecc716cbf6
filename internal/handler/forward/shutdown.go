package forward

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
	"github.com/perchserver/perch/internal/http2"
)

// Shutdown asks the application to stop, in the protocol of the module (spec
// 2.10). A nil error means that it has agreed (202); any other answer is an
// error that names its status. It returns when ctx ends.
func (c *Channel) Shutdown(ctx context.Context) error {
	status, err := c.askToStop(ctx)
	switch {
	case ctx.Err() != nil && err != nil:
		return fmt.Errorf("shutdown request to %s: %w", c.set.Address, ctx.Err())
	case err != nil:
		return fmt.Errorf("shutdown request to %s: %w", c.set.Address, err)
	case status != 202:
		return fmt.Errorf("shutdown request to %s: the application answered %d, not 202", c.set.Address, status)
	}
	return nil
}

// askToStop sends the request, on a connection of its own, and returns the
// status of the answer.
func (c *Channel) askToStop(ctx context.Context) (int, error) {
	path := url.URL{Path: strings.TrimSuffix(c.set.VirtualPath, "/") + "/iisintegration"}
	if c.set.HTTP2 {
		return c.askToStopHTTP2(ctx, path.EscapedPath())
	}
	nc, err := c.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_, err = fmt.Fprintf(nc, "POST %s HTTP/1.1\r\nHost: %s\r\nMS-ASPNETCORE-EVENT: shutdown\r\n"+
		"MS-ASPNETCORE-TOKEN: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", path.EscapedPath(), c.set.Address, c.set.Token)
	if err != nil {
		return 0, err
	}
	return readStatus(nc)
}

// askToStopHTTP2 is askToStop for an application that speaks HTTP/2.
func (c *Channel) askToStopHTTP2(ctx context.Context, path string) (int, error) {
	l, err := c.connectHTTP2(ctx)
	if err != nil {
		return 0, err
	}
	defer l.retire()
	k := newCall()
	k.c, k.readLimit = c, 0 // ctx bounds it
	k.request = http2.RequestHead{
		Method: "POST", Authority: []byte(c.set.Address.String()), Path: []byte(path), Length: 0, End: true,
		Fields: []exchange.Field{
			{ID: exchange.MSEvent, Value: []byte("shutdown")},
			{ID: exchange.MSToken, Value: []byte(c.set.Token)},
		},
	}
	if err := l.open(k); err != nil {
		return 0, err
	}
	defer l.release(k)
	defer context.AfterFunc(ctx, k.Abort)()
	for {
		if first, err := k.next(); err != nil || first == nil {
			return k.head.Status, err
		}
	}
}

// readStatus reads response heads up to the final one.
func readStatus(nc net.Conn) (int, error) {
	limits := headLimits
	var scan http1.Scanner
	var head http1.ResponseHead
	buf := make([]byte, 0, 4<<10)
	for interim := 0; interim < maxInterim; {
		n, err := scan.Scan(buf, &limits)
		if err != nil {
			return 0, err
		}
		if n > 0 {
			if err := http1.ParseResponse(buf[:n], &head); err != nil || head.Status >= 200 {
				return head.Status, err
			}
			buf = buf[:copy(buf, buf[n:])]
			scan.Reset()
			interim++
			continue
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		k, err := nc.Read(buf[len(buf):cap(buf)])
		if err != nil {
			return 0, eof(err)
		}
		buf = buf[:len(buf)+k]
	}
	return 0, errInterim
}
