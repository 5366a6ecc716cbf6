package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// idling opens connections that stay open after one request each, lets them
// rest, and looks at the memory of the server. One server after another: the
// client has as many files open as one server needs.
func (b *bench) idling(ctx context.Context, c testCase, running []*instance) ([]sample, error) {
	var samples []sample
	for _, i := range running {
		s, err := b.idle(ctx, c, i)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", i.server.title, err)
		}
		samples = append(samples, s)
		fmt.Fprintf(os.Stderr, "  %-16s %6.1f MB %8.0f bytes/connection\n", i.server.title, float64(s.Memory)/1e6, s.Each)
	}
	return samples, nil
}

func (b *bench) idle(ctx context.Context, c testCase, i *instance) (sample, error) {
	before, err := b.look(i)
	if err != nil {
		return sample{}, err
	}
	conns, failed, err := open(ctx, c, i.addr)
	defer func() {
		for _, nc := range conns {
			nc.Close()
		}
	}()
	if err != nil && len(conns) == 0 {
		return sample{}, err
	}
	select {
	case <-time.After(b.settle):
	case <-ctx.Done():
		return sample{}, ctx.Err()
	}
	after, err := b.look(i)
	if err != nil {
		return sample{}, err
	}
	each := float64(after.memory-before.memory) / float64(len(conns))
	return sample{Server: i.server.name, Round: 1, Memory: after.memory, Each: round(each), Errors: failed, Others: after.others(before)}, nil
}

// open opens the connections of a case and asks once on each. It returns
// those that are open, how many failed, and the first error.
func open(ctx context.Context, c testCase, addr string) (conns []net.Conn, failed int, err error) {
	const atOnce = 32
	var mu sync.Mutex
	var all sync.WaitGroup
	next := make(chan struct{})
	config := tlsConfig(c.proto)
	for range atOnce {
		all.Go(func() {
			for range next {
				nc, e := openOne(ctx, c, addr, config)
				mu.Lock()
				if e == nil {
					conns = append(conns, nc)
				} else {
					failed++
					err = cmp.Or(err, e)
				}
				mu.Unlock()
			}
		})
	}
	for range c.conns {
		next <- struct{}{}
	}
	close(next)
	all.Wait()
	return conns, failed, err
}

// openOne opens a connection and asks once on it.
func openOne(ctx context.Context, c testCase, addr string, config *tls.Config) (net.Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	if c.proto.secure() {
		nc = tls.Client(nc, config)
	}
	ask := askOnce
	if c.proto == https2 {
		ask = askOnce2
	}
	if err := ask(nc, c, addr); err != nil {
		nc.Close()
		return nil, err
	}
	return nc, nil
}

// askOnce sends one request and reads the whole answer, so that nothing but
// the connection is left.
func askOnce(nc net.Conn, c testCase, addr string) error {
	if _, err := fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", c.path, addr); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(nc, 512), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ContentLength != int64(c.reply) || resp.Close {
		return fmt.Errorf("answer %s with %d bytes, close %v", resp.Status, resp.ContentLength, resp.Close)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// askOnce2 is askOnce with HTTP/2, of which it knows as much as that takes.
func askOnce2(nc net.Conn, c testCase, addr string) error {
	const data, headers, settings, ack, endStream, endHeaders = 0, 1, 4, 1, 1, 4
	frame := func(b []byte, kind, flags, stream byte, payload string) []byte {
		b = append(b, 0, 0, byte(len(payload)), kind, flags, 0, 0, 0, stream)
		return append(b, payload...)
	}
	// GET and https of HPACK's static table, path and authority as literals.
	block := fmt.Sprintf("\x82\x87\x04%c%s\x01%c%s", len(c.path), c.path, len(addr), addr)
	b := frame([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), settings, 0, 0, "")
	if _, err := nc.Write(frame(b, headers, endStream|endHeaders, 1, block)); err != nil {
		return err
	}
	in := bufio.NewReaderSize(nc, 512)
	for body := 0; ; {
		var head [9]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return err
		}
		n := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
		if _, err := in.Discard(n); err != nil {
			return err
		}
		switch kind, flags := head[3], head[4]; {
		case kind == settings && flags&ack == 0:
			if _, err := nc.Write(frame(nil, settings, ack, 0, "")); err != nil {
				return err
			}
		case kind == data:
			if body += n; flags&endStream != 0 {
				return wantBody(body, c.reply)
			}
		case kind == headers && flags&endStream != 0:
			return wantBody(body, c.reply)
		}
	}
}

func wantBody(got, want int) error {
	if got != want {
		return fmt.Errorf("answer of %d bytes instead of %d", got, want)
	}
	return nil
}
