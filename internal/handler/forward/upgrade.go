package forward

import (
	"io"

	"github.com/perchserver/perch/internal/exchange"
)

// switchProtocols answers with 101 and relays bytes both ways until both
// directions have ended, or one has failed (spec 3.6).
func (t *flight) switchProtocols() error {
	x := t.x
	if x.Request.Upgrade == nil {
		return t.fail(ReadHead, Application, errNotAsked)
	}
	x.Response.Status, x.Response.Reason = 101, t.head.Reason
	protocol := t.head.Header.Get(exchange.Upgrade)
	t.passFields(&x.Response)
	if protocol != nil {
		x.Response.Header.Add(exchange.Upgrade, protocol)
	}
	x.WhenGone(nil) // reading notices it from here on
	stream, err := x.Response.Writer.Upgrade(x)
	if err != nil {
		return t.fail(SendResponse, Client, err)
	}
	if t.c.set.Linger != nil {
		defer t.c.set.Linger()()
	}
	sock := t.link.sock
	sock.LimitRead(0)
	if _, err := stream.Write(t.buf[t.r:t.w]); err != nil {
		return t.fail(Relay, Client, err)
	}
	up := make(chan error, 1)
	go func() {
		err := pump(sock, stream, make([]byte, relaySize))
		if err != nil {
			sock.Abort()
		} else {
			sock.CloseWrite()
		}
		up <- err
	}()
	down := pump(stream, sock, t.buf)
	if down != nil {
		stream.Close()
		sock.Abort()
	} else {
		stream.CloseWrite()
	}
	if err := <-up; err != nil {
		stream.Close()
		return t.fail(Relay, Client, err)
	}
	if down != nil {
		return t.fail(Relay, Application, down)
	}
	return nil
}

// relaySize is the buffer of one direction.
const relaySize = 8 << 10

// pump copies until src ends.
func pump(dst io.Writer, src io.Reader, buf []byte) error {
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
