package sockio

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func listenNear(t *testing.T, address string) (net.Listener, netip.AddrPort) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, l.Addr().(*net.TCPAddr).AddrPort()
}

// full listens and never accepts: no connection beyond the first one or two
// comes to be.
func full(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := addrPort(name)
	for {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			t.Fatal(err)
		}
		if info.Unacked > info.Sacked { // of one that listens: what waits, and what may
			return at
		}
		// A dial that fails may be the machine's fault.
		if c, err := net.DialTimeout("tcp", at.String(), 200*time.Millisecond); err == nil {
			t.Cleanup(func() { c.Close() })
		}
	}
}

func dial(w *Watcher, t *Task, to netip.AddrPort, limit time.Duration) (*Conn, error) {
	d, err := w.Dial(t, to)
	if err != nil {
		return nil, err
	}
	return d.Wait(limit)
}

// A connection serves whoever asked for it, a task that stays on its loop as
// well as a goroutine.
func TestDial(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		for name, run := range map[string]func(*Watcher, func(*Task)){
			"goroutine": func(_ *Watcher, f func(*Task)) { f(nil) },
			"task": func(w *Watcher, f func(*Task)) {
				_, done := onTask(t, w, func(c *Conn) {
					if f(c.task); !c.task.Attached() {
						t.Error("the task has left its loop")
					}
				})
				<-done
			},
		} {
			t.Run(name+address, func(t *testing.T) {
				w := still(t, 1)
				l, at := listenNear(t, address)
				go func() {
					if peer, err := l.Accept(); err == nil {
						io.Copy(peer, peer)
						peer.Close()
					}
				}()
				run(w, func(task *Task) {
					c, err := dial(w, task, at, time.Minute)
					if err != nil {
						t.Error(err)
						return
					}
					defer c.Close()
					var b [4]byte
					if _, err := c.Write([]byte("ping")); err != nil {
						t.Error(err)
					} else if n, err := c.Read(b[:]); err != nil || string(b[:n]) != "ping" {
						t.Errorf("%q, %v", b[:n], err)
					}
					if v, err := unix.GetsockoptInt(c.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY); v == 0 || err != nil {
						t.Errorf("TCP_NODELAY is %d, %v", v, err)
					}
					if v, err := unix.GetsockoptString(c.fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION); v != "reno" || err != nil {
						t.Errorf("TCP_CONGESTION is %q, %v", v, err)
					}
				})
			})
		}
	}
}

// Where nobody listens, the system may choose the very port that is dialed for
// the near end, and TCP then connects the socket to itself: what it would carry
// comes back as an answer.
func TestDialRefusesItself(t *testing.T) {
	t.Parallel()
	w := newWatcher(t)
	for _, own := range []unix.Sockaddr{
		&unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}},
		&unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()},
	} {
		family := unix.AF_INET
		if _, ok := own.(*unix.SockaddrInet6); ok {
			family = unix.AF_INET6
		}
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Bind(fd, own); err != nil {
			t.Fatal(err)
		}
		if own, err = unix.Getsockname(fd); err != nil {
			t.Fatal(err)
		}
		if err := unix.Connect(fd, own); err != nil && err != unix.EINPROGRESS {
			t.Fatal(err)
		}
		c := &Conn{fd: fd, w: w}
		w.take(c)
		if err := c.connected(addrPort(own), time.Minute); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%v: %v", addrPort(own), err)
		}
		c.Close()
	}
}

func TestDialFails(t *testing.T) {
	t.Parallel()
	w := newWatcher(t)
	l, at := listenNear(t, "127.0.0.9:0") // nobody else is given its port
	l.Close()
	begin := time.Now()
	for name, c := range map[string]struct {
		to   netip.AddrPort
		want error
	}{
		"refused": {at, syscall.ECONNREFUSED},
		"silent":  {full(t), ErrLimit},
	} {
		c2, err := dial(w, nil, c.to, 10*time.Millisecond)
		var op *net.OpError
		if !errors.Is(err, c.want) || !errors.As(err, &op) || op.Op != "dial" {
			t.Errorf("%s: %v", name, err)
		}
		if c2 != nil {
			t.Errorf("%s: a connection beside an error", name)
		}
	}
	if n := w.Count(); n != 0 {
		t.Errorf("%d connections are left behind", n)
	}
	if took := time.Since(begin); took < 10*time.Millisecond {
		t.Errorf("it took %v only", took)
	}
}

// A connection that no loop has room for is told of as that.
func TestDialWithoutRoom(t *testing.T) {
	t.Parallel()
	w, err := NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	_, at := listenNear(t, "127.0.0.1:0")
	w.Close()
	if _, err := dial(w, nil, at, time.Minute); !errors.Is(err, errEnding) {
		t.Error(err)
	}
	if n := w.Count(); n != 0 {
		t.Errorf("%d connections are left behind", n)
	}
}

// A wait for a connection can be broken off, by who does so before it too.
func TestDialAborts(t *testing.T) {
	t.Parallel()
	w := newWatcher(t)
	at := full(t)
	for _, early := range []bool{true, false} {
		_, done := onTask(t, w, func(c *Conn) {
			d, err := w.Dial(c.task, at)
			if err != nil {
				t.Error(err)
				return
			}
			if early {
				d.Abort()
			} else {
				go d.Abort()
			}
			if _, err := d.Wait(time.Minute); !errors.Is(err, ErrAborted) {
				t.Errorf("early %v: %v", early, err)
			}
		})
		<-done
	}
}

// An application cannot write as much that nobody reads as the kernel has others
// write: that is 4 MB. The kernel remembers of each address how much of what went
// there before came in another order, and allows for it, so these are new to it.
func TestDialledSocketsBoundWhatIsUnread(t *testing.T) {
	t.Parallel()
	w := newWatcher(t)
	for range 3 {
		address := fmt.Sprintf("127.%d.%d.%d:0", 100+rand.IntN(100), rand.IntN(256), 1+rand.IntN(250))
		l, at := listenNear(t, address)
		c, err := dial(w, nil, at, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		peer, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		peer.SetWriteDeadline(time.Now().Add(Tick))
		if n, err := peer.Write(make([]byte, 8<<20)); err == nil || n > 1500<<10 {
			t.Errorf("%s: wrote %d bytes, %v", address, n, err)
		}
	}
}
