package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/perchserver/perch/internal/sockio"
)

// bulk drives a server with large bodies. wrk copies every byte in pieces of
// 8 KiB, which costs it more than it costs Perch to pass them on: then wrk is
// what is measured. This one sends bodies out of the page cache and has the
// kernel drop those that come.
func (b *bench) bulk(ctx context.Context, c testCase, i *instance, seconds int) (loadResult, error) {
	begin := time.Now()
	ctx, cancel := context.WithDeadline(ctx, begin.Add(time.Duration(seconds)*time.Second))
	defer cancel()
	clients := make([]bulkClient, c.conns)
	var all sync.WaitGroup
	for k := range clients {
		all.Go(func() { clients[k].run(ctx, c, i.addr, filepath.Join(b.static, "10m.bin")) })
	}
	all.Wait()
	r := loadResult{Micros: int(time.Since(begin).Microseconds())}
	var took []time.Duration
	var first error
	for k := range clients {
		took = append(took, clients[k].took...)
		if err := clients[k].err; err != nil {
			r.Read++
			first = errors.Join(first, err)
		}
	}
	if len(took) == 0 {
		return r, fmt.Errorf("no request went through: %w", first)
	}
	slices.Sort(took)
	r.Requests = len(took)
	r.P50 = int(took[len(took)/2].Microseconds())
	r.P99 = int(took[len(took)*99/100].Microseconds())
	return r, nil
}

// A bulkClient is one connection that asks again and again. When the context
// ends it breaks off in the middle, as wrk does.
type bulkClient struct {
	took []time.Duration
	err  error
}

func (k *bulkClient) run(ctx context.Context, c testCase, addr, body string) {
	k.err = k.ask(ctx, c, addr, body)
	if ctx.Err() != nil {
		k.err = nil
	}
}

func (k *bulkClient) ask(ctx context.Context, c testCase, addr, path string) error {
	d := net.Dialer{Control: sockio.PrepareLocal}
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	end := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	defer end()
	body, err := os.Open(path)
	if err != nil {
		return err
	}
	defer body.Close()
	head := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", c.path, addr)
	if c.send > 0 {
		head = fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", c.path, addr, c.send)
	}
	in := newDiscarder(nc.(*net.TCPConn))
	for {
		begin := time.Now()
		if _, err := nc.Write(head); err != nil {
			return err
		}
		if c.send > 0 {
			if _, err := body.Seek(0, io.SeekStart); err != nil {
				return err
			}
			if _, err := io.CopyN(nc, body, int64(c.send)); err != nil {
				return err
			}
		}
		if err := in.answer(c.reply); err != nil {
			return err
		}
		k.took = append(k.took, time.Since(begin))
	}
}

// A discarder reads answers without their bodies.
type discarder struct {
	nc   *net.TCPConn
	raw  syscall.RawConn
	buf  []byte
	want int
	n    int
	e    syscall.Errno
	read func(fd uintptr) bool
}

// discardStep is how much the kernel drops at once.
const discardStep = 256 << 10

func newDiscarder(nc *net.TCPConn) *discarder {
	d := &discarder{nc: nc, buf: make([]byte, discardStep)}
	d.raw, _ = nc.SyscallConn() // nil for no socket, which this is
	d.read = func(fd uintptr) bool {
		var n uintptr
		n, _, d.e = syscall.Syscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&d.buf[0])),
			uintptr(min(d.want, discardStep)), unix.MSG_TRUNC, 0, 0)
		d.n = int(n)
		return d.e != syscall.EAGAIN && d.e != syscall.EINTR
	}
	return d
}

// answer reads one answer of status 200 with so many bytes.
func (d *discarder) answer(size int) error {
	got := 0
	for {
		n, err := d.nc.Read(d.buf[got:4096])
		if err != nil {
			return err
		}
		got += n
		if end := bytes.Index(d.buf[:got], []byte("\r\n\r\n")); end >= 0 {
			if !bytes.HasPrefix(d.buf, []byte("HTTP/1.1 200 ")) {
				return fmt.Errorf("answer %.40q", d.buf)
			}
			d.want = size - (got - end - 4)
			break
		}
	}
	for d.want > 0 {
		if err := d.raw.Read(d.read); err != nil {
			return err
		}
		if d.e != 0 || d.n == 0 {
			return fmt.Errorf("answer cut, %d bytes missing: %w", d.want, d.e)
		}
		d.want -= d.n
	}
	return nil
}
