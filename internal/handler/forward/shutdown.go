package forward

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/perchserver/perch/internal/http1"
)

// Shutdown asks the application to stop, in the protocol of the module (spec
// 2.10). A nil error means that it has agreed (202); any other answer is an
// error that names its status.
func (c *Channel) Shutdown(ctx context.Context) error {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", c.set.Address.String())
	if err != nil {
		return fmt.Errorf("shutdown request: %w", err)
	}
	defer nc.Close()
	if t, ok := ctx.Deadline(); ok {
		nc.SetDeadline(t)
	}
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	path := strings.TrimSuffix(c.set.VirtualPath, "/") + "/iisintegration"
	_, err = fmt.Fprintf(nc, "POST %s HTTP/1.1\r\nHost: %s\r\nMS-ASPNETCORE-EVENT: shutdown\r\n"+
		"MS-ASPNETCORE-TOKEN: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", path, c.set.Address, c.set.Token)
	if err != nil {
		return fmt.Errorf("shutdown request: %w", err)
	}
	status, err := readStatus(nc)
	if err != nil {
		return fmt.Errorf("shutdown request: %w", err)
	}
	if status != 202 {
		return fmt.Errorf("shutdown request: the application answered %d", status)
	}
	return nil
}

// readStatus reads one response head.
func readStatus(nc net.Conn) (int, error) {
	var scan http1.Scanner
	limits := headLimits
	buf := make([]byte, 0, 4096)
	for {
		n, err := scan.Scan(buf, &limits)
		if err != nil {
			return 0, err
		}
		if n > 0 {
			var head http1.ResponseHead
			err := http1.ParseResponse(buf[:n], &head)
			return head.Status, err
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		k, err := nc.Read(buf[len(buf):cap(buf)])
		if err != nil {
			return 0, err
		}
		buf = buf[:len(buf)+k]
	}
}
