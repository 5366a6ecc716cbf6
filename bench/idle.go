package main

import (
	"bufio"
	"cmp"
	"context"
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
		fmt.Fprintf(os.Stderr, "  %-16s %6.1f MB\n", i.server.title, float64(s.Memory)/1e6)
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
	return sample{Server: i.server.name, Round: 1, Memory: after.memory, Errors: failed, Others: after.others(before)}, nil
}

// open opens the connections of a case and asks once on each. It returns
// those that are open, how many failed, and the first error.
func open(ctx context.Context, c testCase, addr string) (conns []net.Conn, failed int, err error) {
	const atOnce = 32
	var mu sync.Mutex
	var all sync.WaitGroup
	next := make(chan struct{})
	for range atOnce {
		all.Go(func() {
			for range next {
				nc, e := openOne(ctx, c, addr)
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

func openOne(ctx context.Context, c testCase, addr string) (net.Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	if err := askOnce(nc, c, addr); err != nil {
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
